#include "cli/inspect_tensorflow.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <optional>
#include <string>
#include <vector>

#include "cli/console.h"
#include "cli/inspect_parts.h"
#include "serialize/tensorflow/saved_model_import.h"
#include "serialize/tensorflow/saved_model_summary.h"
#include "serialize/tensorflow/tf_checkpoint.h"

namespace nacre {
namespace {

using enum Table::Align;

/// What there is to say of either.
struct Foreign {
  std::string kind;
  SavedModelSummary summary;
  std::vector<std::string> labels;
  std::optional<InputContract> input;  ///< with the next two: of a network that nacre can read
  std::vector<NodeSummary> layers;
  std::vector<Node> nodes;
  std::string unrecognized;  ///< why it cannot
  std::optional<TrainingState> state;
  std::optional<uint64_t> step;
};

Result<Foreign> read_saved_model(const Session& session, const std::string& folder) {
  Foreign contents;
  contents.kind = "saved_model";
  NACRE_ASSIGN_OR_RETURN(contents.summary, summarize_saved_model(folder));
  ImportOptions importing;
  importing.allow_nonfinite = true;
  const auto model = import_saved_model(folder, importing, session.registry);
  // A damaged file is an error; what nacre merely lacks is not.
  const StatusCode code = model.status().code();
  if (!model.ok() && code != StatusCode::kUnsupported && code != StatusCode::kBadData) return model.status();
  NACRE_ASSIGN_OR_RETURN(contents.labels, labels_of_saved_model(folder));
  if (!model.ok()) {
    contents.unrecognized = model.status().message();
    return contents;
  }
  contents.input = model->contract;
  contents.nodes = model->graph.nodes();
  NACRE_ASSIGN_OR_RETURN(contents.layers, layers_of(session, model->graph, model->contract));
  return contents;
}

Result<Foreign> read_checkpoint(const BundlePath& path) {
  Foreign contents;
  contents.kind = "tf_checkpoint";
  NACRE_ASSIGN_OR_RETURN(contents.summary.variables, summarize_tensor_bundle(path));
  NACRE_ASSIGN_OR_RETURN(const TfCheckpoint checkpoint, read_tf_checkpoint(path, {}));
  contents.step = checkpoint.step;
  if (checkpoint.own.has_value()) {
    contents.state = checkpoint.own->state;
    contents.labels = checkpoint.own->contract.labels;
    contents.input = checkpoint.own->contract;
  }
  return contents;
}

Status print_json(const Foreign& contents, const std::string& path) {
  Json json = {{"kind", contents.kind}, {"file", path}};
  json["input"] = contents.input.has_value() ? input_json(*contents.input) : Json(nullptr);
  json["layers"] = layers_json(contents.layers, contents.nodes);
  if (!contents.unrecognized.empty()) json["unrecognized"] = contents.unrecognized;
  json["variables"] = Json::array();
  for (const TensorSummary& tensor : contents.summary.variables) {
    json["variables"].push_back({{"name", tensor.name}, {"dtype", tensor.type}, {"shape", tensor.shape}});
  }
  json["signatures"] = signatures_json(contents.summary.signatures);
  json["labels"] = contents.labels;
  json["provenance"] = Json::object();
  if (contents.kind == "saved_model") {
    json["provenance"]["tensorflow_version"] = contents.summary.tensorflow_version;
    json["ops"] = contents.summary.ops;
    json["functions"] = contents.summary.functions;
    json["assets"] = contents.summary.assets;
  }
  if (contents.step.has_value()) json["global_step"] = *contents.step;
  if (contents.state.has_value()) json["state"] = state_json(*contents.state);
  return print(json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

Status print_text(const Foreign& contents, const std::string& path) {
  const SavedModelSummary& summary = contents.summary;
  std::string text = fmt::format("{}: {}\n", printable(path), contents.kind);
  if (contents.input.has_value()) text += input_line(*contents.input);
  if (!contents.layers.empty()) text += "\n" + layer_table(contents.layers);
  if (!contents.unrecognized.empty()) {
    text += printable("layers: not recognised: " + contents.unrecognized) + "\n";
  }
  Table variables({{"variable", kLeft}, {"type", kLeft}, {"shape", kLeft}});
  for (const TensorSummary& tensor : summary.variables) {
    variables.add_row(
        {printable(tensor.name), tensor.type, fmt::format("[{}]", fmt::join(tensor.shape, ", "))});
  }
  text += "\n" + variables.to_string() + "\n";
  if (!contents.labels.empty()) text += labels_line(contents.labels);
  text += signature_lines(summary.signatures);
  if (!summary.ops.empty()) {
    std::vector<std::string> ops;
    for (const auto& [op, count] : summary.ops) ops.push_back(fmt::format("{} {}", op, count));
    text += printable(fmt::format("ops: {}", fmt::join(ops, ", "))) + "\n";
    text += fmt::format("functions: {}\n", summary.functions);
    text += printable("tensorflow_version: " + summary.tensorflow_version) + "\n";
  }
  if (contents.state.has_value()) {
    text += state_line(*contents.state);
  } else if (contents.step.has_value()) {
    text += fmt::format("step {}\n", *contents.step);
  }
  return print(text);
}

}  // namespace

Status inspect_tensorflow(const Session& session, const TensorflowFile& file, bool json) {
  NACRE_ASSIGN_OR_RETURN(const Foreign contents, file.saved_model ? read_saved_model(session, file.path)
                                                                  : read_checkpoint(file.bundle()));
  return json ? print_json(contents, file.path) : print_text(contents, file.path);
}

}  // namespace nacre
