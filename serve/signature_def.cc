#include "serve/signature_def.h"

namespace nacre {
namespace {

tensorflow::DataType data_type(const SignatureTensor& tensor) {
  if (tensor.dtype == "string") return tensorflow::DT_STRING;
  return tensor.dtype == "uint8" ? tensorflow::DT_UINT8 : tensorflow::DT_FLOAT;
}

tensorflow::TensorInfo tensor_info(const SignatureTensor& tensor) {
  tensorflow::TensorInfo info;
  info.set_name(tensor.name + ":0");
  info.set_dtype(data_type(tensor));
  for (const int64_t extent : tensor.shape) info.mutable_tensor_shape()->add_dim()->set_size(extent);
  return info;
}

}  // namespace

tensorflow::serving::SignatureDefMap signature_defs(const Servable& servable) {
  tensorflow::serving::SignatureDefMap map;
  for (const ServedSignature& served : servable.signatures()) {
    tensorflow::SignatureDef& def = (*map.mutable_signature_def())[served.info.name];
    def.set_method_name(served.info.method);
    for (const SignatureTensor& input : served.info.inputs)
      (*def.mutable_inputs())[input.name] = tensor_info(input);
    for (const SignatureTensor& output : served.info.outputs)
      (*def.mutable_outputs())[output.name] = tensor_info(output);
  }
  return map;
}

}  // namespace nacre
