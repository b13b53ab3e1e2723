#include "layers/conv_batch_norm.h"

#include <memory>

namespace nacre {
namespace {

Result<std::unique_ptr<Operator>> create_clipped(const OperatorRequest& request, Clip clip) {
  NACRE_ASSIGN_OR_RETURN(const auto conv, parse_attributes<ConvAttrs>(*request.attributes[0]));
  NACRE_ASSIGN_OR_RETURN(const auto norm, parse_attributes<BatchNormAttrs>(*request.attributes[1]));
  NACRE_ASSIGN_OR_RETURN(const ConvGeometry geometry, make_conv_geometry(conv, request.inputs[0]));
  // Training needs the batch's statistics of the sums.
  if (request.mode != Mode::kInference || geometry.relu) return std::unique_ptr<Operator>();
  return std::unique_ptr<Operator>(
      std::make_unique<ConvBatchNorm>(conv, geometry, norm, clip, request.inputs[0][0]));
}

template <Clip clip>
Result<std::unique_ptr<Operator>> create(const OperatorRequest& request) {
  return create_clipped(request, clip);
}

template <Clip clip>
OpDef define(const std::string& activation) {
  return fused_batch_norm_op(
      "Conv2D", activation,
      "[N, H, W, C] -> [N, H', W', F]: the sums of Conv2D, times gamma / sqrt(moving_variance + epsilon), "
      "plus what remains",
      create<clip>);
}

}  // namespace

OpDef conv_batch_norm_op() {
  return define<Clip::kNone>("");
}

OpDef conv_batch_norm_relu_op() {
  return define<Clip::kRelu>("ReLU");
}

OpDef conv_batch_norm_relu6_op() {
  return define<Clip::kRelu6>("ReLU6");
}

}  // namespace nacre
