#include "serialize/tensorflow/saved_model_import.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/file.h"
#include "serialize/finite_tensors.h"
#include "serialize/tensorflow/constant_folding.h"
#include "serialize/tensorflow/flat_graph.h"
#include "serialize/tensorflow/image_input.h"
#include "serialize/tensorflow/layer_recognition.h"
#include "serialize/tensorflow/saved_model_file.h"
#include "serialize/tensorflow/saved_model_mark.h"
#include "serialize/tensorflow/saved_model_signatures.h"
#include "serialize/tensorflow/saved_model_writer.h"
#include "serialize/tensorflow/tensor_bundle_format.h"
#include "serialize/tensorflow/tensor_bundle_reader.h"
#include "serialize/tensorflow/variable_keys.h"
#include "serialize/tensorflow/warmup_records.h"
#include "serialize/tensorflow/within_folder.h"

namespace nacre {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxLabelsBytes = size_t{16} << 20;

/// The tensors of a SavedModel, by nodes of its graph.
class Variables {
 public:
  static Result<Variables> open(const std::string& folder, const tensorflow::MetaGraphDef& meta) {
    Variables variables;
    variables.prefix_ = saved_model_variables(folder);
    std::error_code error;
    // A graph of constants needs none.
    if (!fs::exists(bundle_index_path(variables.prefix_), error)) return variables;
    NACRE_ASSIGN_OR_RETURN(TensorBundle bundle, TensorBundle::open({variables.prefix_, folder}));
    variables.bundle_ = std::make_unique<TensorBundle>(std::move(bundle));
    std::string objects;
    if (variables.bundle_->tensors().contains(kObjectGraphKey)) {
      NACRE_ASSIGN_OR_RETURN(objects, variables.bundle_->text(kObjectGraphKey));
    }
    NACRE_ASSIGN_OR_RETURN(variables.keys_, find_variable_keys(meta, objects));
    return variables;
  }

  Result<std::shared_ptr<const Tensor>> read(const FlatNode& node) const {
    const std::string key = key_of(node);
    const BundleTensor* found = find(key);
    if (found == nullptr) {
      return Status(StatusCode::kCorrupt,
                    fmt::format("the variable \"{}\" is not in {}", key, bundle_index_path(prefix_)));
    }
    if (found->type != BundleType::kFloat32) return std::shared_ptr<const Tensor>();
    std::shared_ptr<const Tensor>& tensor = read_[key];
    if (tensor == nullptr) {
      NACRE_ASSIGN_OR_RETURN(Tensor floats, bundle_->floats(key));
      tensor = std::make_shared<Tensor>(std::move(floats));
    }
    return tensor;
  }

 private:
  [[nodiscard]] const BundleTensor* find(const std::string& key) const {
    if (bundle_ == nullptr) return nullptr;
    const auto found = bundle_->tensors().find(key);
    return found == bundle_->tensors().end() ? nullptr : &found->second;
  }

  /// TF2's by the objects; TF1's are called as the variable is.
  [[nodiscard]] std::string key_of(const FlatNode& node) const {
    const std::string name(node.name());
    if (const auto known = keys_.find(name); known != keys_.end()) return known->second;
    const auto shared = node.attribute("shared_name");
    const auto* text = shared.has_value() ? std::get_if<std::string>(&*shared) : nullptr;
    return text == nullptr || text->empty() ? name : *text;
  }

  std::string prefix_;
  std::unique_ptr<TensorBundle> bundle_;
  std::map<std::string, std::string, std::less<>> keys_;
  mutable std::map<std::string, std::shared_ptr<const Tensor>> read_;  ///< signatures share variables
};

/// The size of the images, from the graph or from the options; 0 when neither tells.
Status settle_size(InputContract& contract, const ImportOptions& options) {
  if (options.height == 0) return {};
  const bool other = (contract.height != 0 && contract.height != options.height) ||
                     (contract.width != 0 && contract.width != options.width);
  if (other) {
    return {StatusCode::kBadData,
            fmt::format("expected images of {} x {} as --input-size says, the graph says {} x {}",
                        options.height, options.width, contract.height, contract.width)};
  }
  contract.height = options.height;
  contract.width = options.width;
  return {};
}

Status settle_scale(ImportedModel& model, const ImageInput& input, const ImportOptions& options) {
  model.scale_told = input.scale_told;
  if (options.scale != 0) {
    if (input.decodes) {
      return {StatusCode::kUsage, "--scale is for signatures of numbers; this one decodes images itself"};
    }
    model.contract.scale = static_cast<float>(options.scale * input.graph_scale);
    model.scale_told = true;
  } else if (!input.doubtful.empty()) {
    return {StatusCode::kBadData, fmt::format("{}: takes levels of 0 to 255, but other nodes read the same "
                                              "input as it is; convert takes --scale FACTOR",
                                              input.doubtful)};
  }
  return {};
}

/// The softmax that a bundle ends in would give other answers than a graph's that ends in something else than
/// scores: what turns them into others may have steps behind it that add no weights.
Status check_output(const Graph& graph) {
  static constexpr std::array<std::string_view, 7> kWithoutWeights{"BatchNorm", "Flatten",   "Add", "Concat",
                                                                   "ReLU",      "LeakyReLU", "ELU"};
  // ReLU6 is Keras's hard_sigmoid.
  static constexpr std::array<std::string_view, 4> kBounded{"Softmax", "Sigmoid", "Tanh", "ReLU6"};
  const std::vector<Node>& nodes = graph.nodes();
  if (graph.output().op == "Softmax") return {};
  std::map<std::string_view, const Node*> by_name;
  for (const Node& node : nodes) by_name[node.name] = &node;
  std::vector<const Node*> next{&graph.output()};
  std::set<const Node*> seen;
  while (!next.empty()) {
    const Node& node = *next.back();
    next.pop_back();
    if (!seen.insert(&node).second) continue;
    if (std::ranges::find(kBounded, node.op) != kBounded.end()) {
      const bool last = &node == &graph.output();
      return {
          StatusCode::kUnsupported,
          fmt::format("ends in {}{}: expected a classifier, which ends in scores or a softmax", node.op,
                      last ? "" : fmt::format(" \"{}\" with a {} behind it", node.name, graph.output().op))};
    }
    if (std::ranges::find(kWithoutWeights, node.op) == kWithoutWeights.end()) continue;
    for (const std::string& input : node.inputs) {
      if (const auto found = by_name.find(input); found != by_name.end()) next.push_back(found->second);
    }
  }
  return {};
}

Status check_assets(const tensorflow::MetaGraphDef& meta) {
  for (const tensorflow::AssetFileDef& asset : meta.asset_file_def()) {
    const fs::path path(asset.filename());
    if (path.empty() || path.is_absolute() || path.has_parent_path() || path == "..") {
      return {StatusCode::kCorrupt,
              fmt::format("asset \"{}\": expected the name of a file in assets/", asset.filename())};
    }
  }
  return {};
}

/// As if images had this size, where the graph tells none; 0: not known.
Result<SignatureModel> import_graph(const tensorflow::MetaGraphDef& meta, const Variables& variables,
                                    const ImportOptions& options, const Registry& registry, int64_t side) {
  SignatureModel imported;
  ImportedModel& model = imported.model;
  NACRE_ASSIGN_OR_RETURN(model.signature, pick_signature(meta, options.signature));
  NACRE_ASSIGN_OR_RETURN(const std::unique_ptr<FlatGraph> graph, FlatGraph::make(meta, model.signature));
  ConstantFolder folder([&](const FlatNode& node) { return variables.read(node); });
  for (FlatNode* node : graph->nodes) {
    if (!node->depends_on_input) NACRE_RETURN_IF_ERROR(folder.fold(*node));
  }
  NACRE_ASSIGN_OR_RETURN(const ImageInput input, recognize_image_input(*graph));
  model.contract = input.contract;
  imported.definition = graph->signature;
  imported.decodes = input.decodes;
  imported.factor = input.graph_scale;
  NACRE_RETURN_IF_ERROR(settle_scale(model, input, options));
  NACRE_RETURN_IF_ERROR(settle_size(model.contract, options));
  InputContract& contract = model.contract;
  if (contract.height == 0 || contract.width == 0) {
    if (side == 0) return imported;
    contract.height = contract.height == 0 ? side : contract.height;
    contract.width = contract.width == 0 ? side : contract.width;
  }
  const std::array<int64_t, 4> dims{1, contract.height, contract.width, contract.channels};
  NACRE_ASSIGN_OR_RETURN(const Shape shape, Shape::make(dims));
  NACRE_ASSIGN_OR_RETURN(RecognizedNetwork network, recognize_layers(*graph, input, shape, folder, registry));
  NACRE_ASSIGN_OR_RETURN(model.graph, Graph::make(std::move(network.nodes)));
  NACRE_RETURN_IF_ERROR(check_output(model.graph));
  model.variables = std::move(network.variables);
  return imported;
}

/// Why a graph that does not tell the size of its images cannot be read: there is a node that nacre lacks,
/// which nobody should be asked for a size for; else, that it does not tell. What is refused alike for images
/// of two sizes is so for all.
Status size_not_told(const tensorflow::MetaGraphDef& meta, const Variables& variables,
                     const ImportOptions& options, const Registry& registry) {
  constexpr int64_t kOneSide = 224;
  constexpr int64_t kOtherSide = 96;
  Status one = import_graph(meta, variables, options, registry, kOneSide).status();
  if (one.code() == StatusCode::kUnsupported) {
    const Status other = import_graph(meta, variables, options, registry, kOtherSide).status();
    if (other.message() == one.message()) return one;
  }
  return {StatusCode::kBadData,
          "the graph does not tell the size of its images; convert takes --input-size HxW"};
}

Result<SignatureModel> import_meta_graph(const tensorflow::MetaGraphDef& meta, const Variables& variables,
                                         const ImportOptions& options, const Registry& registry) {
  NACRE_RETURN_IF_ERROR(check_assets(meta));
  NACRE_ASSIGN_OR_RETURN(SignatureModel imported, import_graph(meta, variables, options, registry, 0));
  if (imported.model.contract.height != 0 && imported.model.contract.width != 0) return imported;
  return size_not_told(meta, variables, options, registry);
}

/// What each signature has to do with the model that was read of one of them.
ImportedSignatures tell_signatures(const tensorflow::MetaGraphDef& meta, const Variables& variables,
                                   const ImportOptions& options, const Registry& registry,
                                   const SignatureModel& chosen, bool by_nacre) {
  constexpr size_t kMostRead = 16;
  ImportedSignatures signatures;
  size_t read = 0;
  for (const std::string& name : predicting_signatures(meta, by_nacre)) {
    ImportOptions other = options;
    other.signature = name;
    Result<ImportedSignature> answered =
        Status(StatusCode::kLimit,
               fmt::format("it comes behind {} others, which is as many as are read", kMostRead));
    if (name == chosen.model.signature) {
      answered = answered_signature(chosen, chosen);
    } else if (read++ < kMostRead) {
      const auto imported = import_graph(meta, variables, other, registry, 0);
      answered = imported.ok() ? answered_signature(chosen, *imported)
                               : Result<ImportedSignature>(imported.status());
    }
    if (answered.ok()) {
      signatures.answered.push_back(std::move(answered).value());
    } else {
      signatures.left_out.push_back({name, answered.status().message()});
    }
  }
  return signatures;
}

}  // namespace

Result<ImportedModel> import_saved_model(const std::string& folder, const ImportOptions& options,
                                         const Registry& registry) {
  NACRE_ASSIGN_OR_RETURN(std::vector<GoldenVector> recorded, read_warmup_records(folder));
  // First of all: a folder that is copied at this moment may look whole with files missing.
  NACRE_ASSIGN_OR_RETURN(const bool marked, check_saved_model_mark(folder));
  ImportOptions settled = options;
  const bool by_nacre = marked || !recorded.empty();
  if (settled.signature.empty() && by_nacre) settled.signature = kEncodedSignature;
  NACRE_ASSIGN_OR_RETURN(const tensorflow::MetaGraphDef meta, read_saved_model(folder));
  NACRE_ASSIGN_OR_RETURN(const Variables variables, Variables::open(folder, meta));
  auto imported = import_meta_graph(meta, variables, settled, registry);
  if (!imported.ok()) return imported.status().at(saved_model_path(folder));
  ImportedModel& model = imported->model;
  if (!options.allow_nonfinite) NACRE_RETURN_IF_ERROR(check_finite(model.variables).at(folder));
  model.marked = marked;
  model.lacks_mark = !marked && meta.meta_info_def().meta_graph_version() == kMarkedGraph;
  for (const auto& asset : meta.asset_file_def()) model.assets.push_back(asset.filename());
  if (model.signature == kEncodedSignature) model.golden = std::move(recorded);
  if (options.tell_signatures) {
    model.signatures = tell_signatures(meta, variables, settled, registry, *imported, by_nacre);
  }
  return std::move(model);
}

Result<std::string> read_labels_asset(const std::string& folder) {
  const fs::path assets = fs::path(folder) / "assets";
  const fs::path path = assets / "labels.txt";
  std::error_code error;
  if (!fs::exists(fs::symlink_status(path, error))) return std::string();
  NACRE_RETURN_IF_ERROR(check_within_folder(path.string(), folder));
  NACRE_ASSIGN_OR_RETURN(const std::vector<std::byte> bytes, read_file(path.string(), kMaxLabelsBytes));
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

}  // namespace nacre
