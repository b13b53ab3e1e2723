#include "layers/tensorflow_ops.h"

#include <fmt/format.h>

#include <limits>
#include <utility>

namespace nacre {
namespace {

std::string name_of(const DescribeRequest& layer, std::string_view suffix) {
  return suffix.empty() ? layer.scope : layer.scope + "/" + std::string(suffix);
}

}  // namespace

std::string add_node(const DescribeRequest& layer, GraphSink& sink, std::string_view op,
                     std::string_view suffix, std::vector<std::string> inputs, TfAttributes attributes) {
  attributes.emplace_back("T", TfType::kFloat);
  return sink.add(op, name_of(layer, suffix), std::move(inputs), attributes);
}

Result<std::string> add_sizes(const DescribeRequest& layer, GraphSink& sink, std::string_view suffix,
                              const Shape& shape, std::span<const int64_t> values) {
  std::vector<int32_t> narrow;
  for (const int64_t value : values) {
    if (value < std::numeric_limits<int32_t>::min() || value > std::numeric_limits<int32_t>::max()) {
      return Status(StatusCode::kUnsupported,
                    fmt::format("a size of {} is beyond TensorFlow's 32-bit sizes", value));
    }
    narrow.push_back(static_cast<int32_t>(value));
  }
  return sink.constant(name_of(layer, suffix), shape, narrow);
}

std::string add_axis(const DescribeRequest& layer, GraphSink& sink, std::string_view suffix, int32_t axis) {
  return sink.constant(name_of(layer, suffix), Shape{}, std::span<const int32_t>(&axis, 1));
}

std::string add_float(const DescribeRequest& layer, GraphSink& sink, std::string_view suffix, float value,
                      const Shape& shape) {
  return sink.constant(name_of(layer, suffix), shape, std::span<const float>(&value, 1));
}

std::string add_concat(const DescribeRequest& layer, GraphSink& sink, std::string_view suffix,
                       std::vector<std::string> tensors, int32_t axis) {
  const auto count = static_cast<int64_t>(tensors.size());
  tensors.push_back(add_axis(layer, sink, "axis", axis));
  return add_node(layer, sink, "ConcatV2", suffix, std::move(tensors), {{"N", count}});
}

std::string add_bias_and_activation(const DescribeRequest& layer, GraphSink& sink, const WeightAttrs& attrs,
                                    std::string sums) {
  if (attrs.use_bias) sums = add_node(layer, sink, "BiasAdd", "bias_add", {sums, layer.variables[1]});
  return attrs.activation == Activation::kRelu ? add_node(layer, sink, "Relu", "relu", {sums}) : sums;
}

Result<std::string> describe_pool(const DescribeRequest& layer, GraphSink& sink, std::string_view op) {
  NACRE_ASSIGN_OR_RETURN(const auto attrs, parse_attributes<PoolAttrs>(layer.attributes));
  return add_node(layer, sink, op, "", {layer.inputs[0]},
                  {{"ksize", over_image(attrs.pool_size)},
                   {"strides", over_image(attrs.resolved_strides())},
                   {"padding", tensorflow_name(attrs.padding)}});
}

std::string tensorflow_name(Padding padding) {
  return padding == Padding::kSame ? "SAME" : "VALID";
}

std::vector<int64_t> over_image(Extent2 extent) {
  return {1, extent.height, extent.width, 1};
}

}  // namespace nacre
