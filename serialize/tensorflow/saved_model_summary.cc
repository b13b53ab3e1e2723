#include "serialize/tensorflow/saved_model_summary.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "serialize/tensorflow/saved_model_file.h"
#include "serialize/tensorflow/tensor_bundle_format.h"
#include "serialize/tensorflow/tensor_bundle_reader.h"

namespace nacre {
namespace {

/// Sorted by name.
std::vector<SignatureTensor> tensors_of(
    const google::protobuf::Map<std::string, tensorflow::TensorInfo>& map) {
  std::vector<SignatureTensor> tensors;
  for (const auto& [name, info] : map) {
    SignatureTensor tensor;
    tensor.name = name;
    tensor.dtype = type_name(static_cast<BundleType>(info.dtype()));
    for (const auto& dim : info.tensor_shape().dim()) tensor.shape.push_back(dim.size());
    tensors.push_back(std::move(tensor));
  }
  std::ranges::sort(tensors, {}, &SignatureTensor::name);
  return tensors;
}

}  // namespace

Result<std::vector<TensorSummary>> summarize_tensor_bundle(const BundlePath& path) {
  NACRE_ASSIGN_OR_RETURN(const TensorBundle bundle, TensorBundle::open(path));
  std::vector<TensorSummary> tensors;
  for (const auto& [name, tensor] : bundle.tensors()) {
    tensors.push_back(
        {name, type_name(tensor.type), {tensor.shape.dims().begin(), tensor.shape.dims().end()}});
  }
  return tensors;
}

Result<SavedModelSummary> summarize_saved_model(const std::string& folder) {
  NACRE_ASSIGN_OR_RETURN(const tensorflow::MetaGraphDef meta, read_saved_model(folder));
  SavedModelSummary summary;
  summary.tensorflow_version = meta.meta_info_def().tensorflow_version();
  for (const auto& [name, definition] : meta.signature_def()) {
    if (name == kInitSignature) continue;
    summary.signatures.push_back(
        {name, definition.method_name(), tensors_of(definition.inputs()), tensors_of(definition.outputs())});
  }
  std::ranges::sort(summary.signatures, {}, &Signature::name);
  const auto count = [&](const auto& nodes) {
    for (const tensorflow::NodeDef& node : nodes) ++summary.ops[node.op()];
  };
  count(meta.graph_def().node());
  for (const auto& function : meta.graph_def().library().function()) count(function.node_def());
  summary.functions = static_cast<size_t>(meta.graph_def().library().function_size());
  for (const auto& asset : meta.asset_file_def()) summary.assets.push_back(asset.filename());
  const std::string prefix = saved_model_variables(folder);
  std::error_code error;
  if (std::filesystem::exists(bundle_index_path(prefix), error)) {
    NACRE_ASSIGN_OR_RETURN(summary.variables, summarize_tensor_bundle({prefix, folder}));
  }
  return summary;
}

}  // namespace nacre
