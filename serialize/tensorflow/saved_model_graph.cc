#include "serialize/tensorflow/saved_model_graph.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <utility>

#include "serialize/tensorflow/decode_graph.h"
#include "serialize/tensorflow/graph_builder.h"
#include "serialize/tensorflow/network_graph.h"
#include "serialize/tensorflow/saved_model_mark.h"
#include "serialize/tensorflow/saver_graph.h"

namespace nacre {
namespace {

using tensorflow::DT_FLOAT;
using tensorflow::DT_INT32;
using tensorflow::DT_STRING;

constexpr int kSchemaVersion = 1;
// TensorFlow reads graphs of any producer's version; these are what its 1.x wrote.
constexpr int kGraphProducer = 27;
constexpr const char* kTensorflowVersion = "1.15.0";

constexpr const char* kPredict = "tensorflow/serving/predict";
constexpr const char* kClassify = "tensorflow/serving/classify";
constexpr const char* kDefaultSignature = "serving_default";
constexpr const char* kFloatSignature = "float_image";
constexpr const char* kClassifySignature = "classify";

/// An input or output of a signature.
struct Endpoint {
  std::string key;
  std::string node;
  tensorflow::DataType type = DT_FLOAT;
  std::vector<int64_t> dims;
  bool any_rank = false;
};

/// A way of calling the network.
struct Call {
  const char* method = kPredict;
  std::vector<Endpoint> inputs;
  std::vector<Endpoint> outputs;
};

tensorflow::TensorInfo tensor_info(const Endpoint& endpoint) {
  tensorflow::TensorInfo info;
  info.set_name(endpoint.node + ":0");
  info.set_dtype(endpoint.type);
  *info.mutable_tensor_shape() = shape_proto(endpoint.dims);
  if (endpoint.any_rank) info.mutable_tensor_shape()->set_unknown_rank(true);
  return info;
}

/// {"image": "images:0"}
std::string name_map(const std::vector<Endpoint>& endpoints) {
  std::string json;
  for (const Endpoint& endpoint : endpoints) {
    json += fmt::format(R"({}"{}": "{}:0")", json.empty() ? "" : ", ", endpoint.key, endpoint.node);
  }
  return "{" + json + "}";
}

/// Puts a SavedModel together. Every call has a placeholder and a copy of the network of its own, which share
/// the variables: converters want no node that they do not know on the way to a signature's input.
class SavedModelMaker {
 public:
  SavedModelMaker(const Bundle& bundle, const SavedModelOptions& options, NetworkGraph network)
      : contract_(bundle.contract),
        options_(options),
        network_(std::move(network)),
        meta_graph_(*result_.model.add_meta_graphs()),
        graph_(*meta_graph_.mutable_graph_def()) {}

  Result<SavedModelGraph> make() {
    result_.model.set_saved_model_schema_version(kSchemaVersion);
    meta_graph_.mutable_meta_info_def()->add_tags("serve");
    meta_graph_.mutable_meta_info_def()->set_tensorflow_version(kTensorflowVersion);
    meta_graph_.mutable_meta_info_def()->set_meta_graph_version(kMarkedGraph);
    meta_graph_.mutable_graph_def()->mutable_versions()->set_producer(kGraphProducer);
    NACRE_RETURN_IF_ERROR(network_.add_variables(graph_));
    // Before the networks, whose layers may have any names.
    const Endpoint images =
        add_placeholder(std::string(kImageKey), "images", DT_STRING, {kAnyExtent}, options_.reference);
    const Endpoint image =
        add_placeholder(std::string(kImageKey), "image", DT_FLOAT,
                        {kAnyExtent, contract_.height, contract_.width, contract_.channels});
    std::optional<Endpoint> examples;
    if (!options_.reference) examples = add_placeholder("inputs", "tf_example", DT_STRING, {kAnyExtent});
    NACRE_ASSIGN_OR_RETURN(const Call encoded, add_encoded(images));
    NACRE_ASSIGN_OR_RETURN(const Call floats, add_floats(image));
    const Call& main = options_.float_default ? floats : encoded;
    add_signature(kDefaultSignature, main);
    add_signature(std::string(kEncodedSignature), encoded);
    add_signature(kFloatSignature, floats);
    if (examples.has_value()) {
      add_decode_functions(*meta_graph_.mutable_graph_def(), contract_);
      NACRE_ASSIGN_OR_RETURN(const Call classify, add_classify(*examples));
      add_signature(kClassifySignature, classify);
    }
    auto& collections = *meta_graph_.mutable_collection_def();
    collections["inputs"].mutable_bytes_list()->add_value(name_map(main.inputs));
    collections["outputs"].mutable_bytes_list()->add_value(name_map(main.outputs));
    if (!contract_.labels.empty()) add_labels_asset();
    add_saver(graph_, network_.variables(), meta_graph_);
    for (const PlannedVariable& variable : network_.variables()) result_.variables.push_back(variable.name);
    NACRE_RETURN_IF_ERROR(graph_.check_size());
    std::ranges::sort(result_.signatures, {}, &Signature::name);
    return std::move(result_);
  }

 private:
  Endpoint add_placeholder(const std::string& key, const std::string& name, tensorflow::DataType type,
                           std::vector<int64_t> dims, bool any_rank = false) {
    tensorflow::NodeDef& node = graph_.node("Placeholder", name, {});
    set_type(node, "dtype", type);
    if (any_rank) {
      (*node.mutable_attr())["shape"].mutable_shape()->set_unknown_rank(true);
    } else {
      set_shape(node, "shape", dims);
    }
    return {key, node.name(), type, std::move(dims), any_rank};
  }

  Result<Endpoint> add_network(const std::string& prefix, const std::string& input, int64_t rows) {
    NACRE_ASSIGN_OR_RETURN(std::string output, network_.add_copy(graph_, prefix, input));
    return Endpoint{std::string(kPredictionName), std::move(output), DT_FLOAT, {rows, network_.classes()}};
  }

  Result<Call> add_encoded(const Endpoint& images) {
    const std::string prefix = options_.float_default ? "encoded/" : "";
    const std::string decoded = options_.reference ? decode_first(graph_, contract_, images.node)
                                                   : decode_batch(graph_, contract_, prefix, images.node);
    const int64_t rows = options_.reference ? 1 : kAnyExtent;
    NACRE_ASSIGN_OR_RETURN(Endpoint output, add_network(prefix, decoded, rows));
    return Call{kPredict, {images}, {std::move(output)}};
  }

  Result<Call> add_floats(const Endpoint& image) {
    const std::string prefix = options_.float_default ? "" : "float/";
    NACRE_ASSIGN_OR_RETURN(Endpoint output, add_network(prefix, image.node, kAnyExtent));
    return Call{kPredict, {image}, {std::move(output)}};
  }

  /// Takes serialised tf.Examples with the image as their feature "image".
  Result<Call> add_classify(const Endpoint& examples) {
    Call call{kClassify, {examples}, {}};
    const std::string prefix = "classify/";
    const std::string images = add_parse_example(prefix, examples.node);
    NACRE_ASSIGN_OR_RETURN(Endpoint scores,
                           add_network(prefix, decode_batch(graph_, contract_, prefix, images), kAnyExtent));
    scores.key = "scores";
    if (!contract_.labels.empty()) {
      const std::array<int64_t, 1> count{network_.classes()};
      const std::string labels = graph_.constant(prefix + "labels", count, contract_.labels);
      const std::string shape = graph_.add("Shape", prefix + "shape", {scores.node}, {{"T", TfType::kFloat}});
      tensorflow::NodeDef& classes = graph_.node("BroadcastTo", prefix + "classes", {labels, shape});
      set_type(classes, "T", DT_STRING);
      set_type(classes, "Tidx", DT_INT32);
      call.outputs.push_back({"classes", classes.name(), DT_STRING, scores.dims});
    }
    call.outputs.push_back(std::move(scores));
    return call;
  }

  std::string add_parse_example(const std::string& prefix, const std::string& examples) {
    const std::array<int64_t, 1> none{0};
    const std::span<const std::string> nothing;
    const std::string names = graph_.constant(prefix + "ParseExample/names", none, nothing);
    const std::array<std::string, 1> feature{std::string(kImageKey)};
    const std::string key = graph_.constant(prefix + "ParseExample/key", std::span<const int64_t>(), feature);
    // An empty default: an example without the feature is an error.
    const std::string required = graph_.constant(prefix + "ParseExample/default", none, nothing);
    tensorflow::NodeDef& parse =
        graph_.node("ParseExample", prefix + "ParseExample", {examples, names, key, required});
    set_int(parse, "Nsparse", 0);
    set_int(parse, "Ndense", 1);
    set_types(parse, "sparse_types", {});
    set_types(parse, "Tdense", {DT_STRING});
    set_shapes(parse, "dense_shapes", {{}});
    return parse.name();
  }

  void add_signature(const std::string& name, const Call& call) {
    tensorflow::SignatureDef& definition = (*meta_graph_.mutable_signature_def())[name];
    definition.set_method_name(call.method);
    Signature signature{name, call.method, {}, {}};
    const auto described = [](const Endpoint& endpoint) {
      return SignatureTensor{endpoint.key, endpoint.type == DT_STRING ? "string" : "float32", endpoint.dims};
    };
    for (const Endpoint& input : call.inputs) {
      (*definition.mutable_inputs())[input.key] = tensor_info(input);
      signature.inputs.push_back(described(input));
    }
    for (const Endpoint& output : call.outputs) {
      (*definition.mutable_outputs())[output.key] = tensor_info(output);
      signature.outputs.push_back(described(output));
    }
    result_.signatures.push_back(std::move(signature));
  }

  /// A scalar that loaders feed with the file's path.
  void add_labels_asset() {
    const std::array<std::string, 1> file{std::string(kLabelsAsset)};
    const Endpoint path{"", graph_.constant("labels_file", std::span<const int64_t>(), file), DT_STRING, {}};
    tensorflow::AssetFileDef& asset = *meta_graph_.add_asset_file_def();
    *asset.mutable_tensor_info() = tensor_info(path);
    asset.set_filename(file[0]);
  }

  const InputContract& contract_;
  SavedModelOptions options_;
  NetworkGraph network_;
  SavedModelGraph result_;
  tensorflow::MetaGraphDef& meta_graph_;
  GraphBuilder graph_;
};

}  // namespace

Result<SavedModelGraph> make_saved_model(const Bundle& bundle, const Registry& registry,
                                         const SavedModelOptions& options) {
  NACRE_RETURN_IF_ERROR(check_decodable(bundle.contract).at("the input contract"));
  NACRE_ASSIGN_OR_RETURN(NetworkGraph network, NetworkGraph::make(bundle, registry));
  return SavedModelMaker(bundle, options, std::move(network)).make();
}

}  // namespace nacre
