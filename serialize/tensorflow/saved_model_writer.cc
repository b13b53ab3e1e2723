#include "serialize/tensorflow/saved_model_writer.h"

#include <fmt/format.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <utility>

#include "schemas/tensorflow/predict.pb.h"
#include "serialize/atomic_folder.h"
#include "serialize/tensorflow/saved_model_graph.h"
#include "serialize/tensorflow/tensor_bundle_writer.h"
#include "serialize/tensorflow/tf_record.h"

namespace nacre {
namespace {

// TensorFlow's names.
constexpr const char* kGraphFile = "saved_model.pb";
constexpr const char* kVariablesFolder = "variables";
constexpr const char* kAssetsFolder = "assets";
constexpr const char* kExtraFolder = "assets.extra";
constexpr const char* kWarmupFile = "tf_serving_warmup_requests";
/// Protobuf's own limit.
constexpr size_t kMaxGraphBytes = size_t{1} << 31;

/// What a SavedModel that is to be replaced may hold; other writers' files too.
std::vector<std::string> saved_model_names() {
  return {kGraphFile,   "saved_model.pbtxt", kVariablesFolder,   kAssetsFolder,
          kExtraFolder, "fingerprint.pb",    "keras_metadata.pb"};
}

/// The same message in the same bytes: by itself protobuf writes maps in any order.
Result<std::string> serialize(const google::protobuf::Message& message) {
  const size_t size = message.ByteSizeLong();
  if (size >= kMaxGraphBytes) {
    return Status(StatusCode::kLimit,
                  fmt::format("{} would have {} bytes; the limit is {}", kGraphFile, size, kMaxGraphBytes));
  }
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    message.SerializeWithCachedSizes(&coded);
  }
  return bytes;
}

/// A PredictRequest for each golden picture, which TensorFlow Serving sends itself before it takes requests.
Result<std::string> warmup_requests(const Bundle& bundle) {
  std::string file;
  for (const GoldenVector& golden : bundle.golden) {
    tensorflow::serving::PredictionLog log;
    auto& request = *log.mutable_predict_log()->mutable_request();
    request.mutable_model_spec()->set_signature_name(std::string(kEncodedSignature));
    tensorflow::TensorProto& image = (*request.mutable_inputs())[std::string(kImageKey)];
    image.set_dtype(tensorflow::DT_STRING);
    image.mutable_tensor_shape()->add_dim()->set_size(1);
    image.add_string_val(golden.image.data(), golden.image.size());
    NACRE_ASSIGN_OR_RETURN(const std::string record, serialize(log));
    append_tf_record(file, record);
  }
  return file;
}

std::string lines(const std::vector<std::string>& labels) {
  std::string text;
  for (const std::string& label : labels) text += label + "\n";
  return text;
}

/// The variables of the graph, and no others that the bundle may hold.
std::vector<BundleItem> bundle_items(const SavedModelGraph& graph, const VariableStore& variables) {
  std::vector<BundleItem> items;
  for (const std::string& name : graph.variables) items.push_back({name, variables.find(name)->view()});
  return items;
}

}  // namespace

Result<std::vector<Signature>> write_saved_model(const std::string& folder, const Bundle& bundle,
                                                 const Registry& registry, const SavedModelOptions& options,
                                                 FileSystem& file_system) {
  auto made = make_saved_model(bundle, registry, options);
  if (!made.ok()) return made.status().at(folder);
  SavedModelGraph& graph = made.value();
  auto graph_bytes = serialize(graph.model);
  if (!graph_bytes.ok()) return graph_bytes.status().at(folder);

  NACRE_ASSIGN_OR_RETURN(AtomicFolder out,
                         AtomicFolder::create(folder, saved_model_names(), options.overwrite, file_system));
  NACRE_RETURN_IF_ERROR(out.make_folder(kVariablesFolder));
  const std::string prefix = fmt::format("{0}/{1}/{1}", out.staging(), kVariablesFolder);
  NACRE_RETURN_IF_ERROR(
      write_tensor_bundle(prefix, bundle_items(graph, bundle.variables), false, file_system));
  if (!bundle.contract.labels.empty()) {
    NACRE_RETURN_IF_ERROR(out.make_folder(kAssetsFolder));
    NACRE_RETURN_IF_ERROR(
        out.write_file(fmt::format("{}/{}", kAssetsFolder, kLabelsAsset), lines(bundle.contract.labels)));
  }
  if (!bundle.golden.empty()) {
    NACRE_ASSIGN_OR_RETURN(const std::string requests, warmup_requests(bundle));
    NACRE_RETURN_IF_ERROR(out.make_folder(kExtraFolder));
    NACRE_RETURN_IF_ERROR(out.write_file(fmt::format("{}/{}", kExtraFolder, kWarmupFile), requests));
  }
  NACRE_RETURN_IF_ERROR(out.write_file(kGraphFile, *graph_bytes));
  NACRE_RETURN_IF_ERROR(out.commit());
  return std::move(graph.signatures);
}

}  // namespace nacre
