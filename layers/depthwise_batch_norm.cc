#include "layers/depthwise_batch_norm.h"

#include <memory>

namespace nacre {
namespace {

Result<std::unique_ptr<Operator>> create_clipped(const OperatorRequest& request, Clip clip) {
  NACRE_ASSIGN_OR_RETURN(const auto attrs, parse_attributes<DepthwiseAttrs>(*request.attributes[0]));
  NACRE_ASSIGN_OR_RETURN(const auto norm, parse_attributes<BatchNormAttrs>(*request.attributes[1]));
  NACRE_ASSIGN_OR_RETURN(DepthwiseConv conv, make_depthwise_conv(attrs, request.inputs[0]));
  // Training needs the batch's statistics of the sums.
  if (request.mode != Mode::kInference || conv.clip != Clip::kNone) return std::unique_ptr<Operator>();
  conv.clip = clip;
  return std::unique_ptr<Operator>(
      std::make_unique<DepthwiseBatchNorm>(attrs, conv, norm, request.inputs[0][0]));
}

template <Clip clip>
Result<std::unique_ptr<Operator>> create(const OperatorRequest& request) {
  return create_clipped(request, clip);
}

template <Clip clip>
OpDef define(const std::string& activation) {
  return fused_batch_norm_op(
      "DepthwiseConv2D", activation,
      "[N, H, W, C] -> [N, H', W', C * M]: DepthwiseConv2D with gamma / sqrt(moving_variance + epsilon) "
      "in its kernel and what remains in its bias",
      create<clip>);
}

}  // namespace

OpDef depthwise_batch_norm_op() {
  return define<Clip::kNone>("");
}

OpDef depthwise_batch_norm_relu_op() {
  return define<Clip::kRelu>("ReLU");
}

OpDef depthwise_batch_norm_relu6_op() {
  return define<Clip::kRelu6>("ReLU6");
}

}  // namespace nacre
