#include "layers/op_common.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "engine/shape_text.h"
namespace nacre {

std::span<const EnumName<Activation>> enum_names(Activation) {
  static constexpr std::array<EnumName<Activation>, 2> kNames{{
      {Activation::kLinear, "linear"},
      {Activation::kRelu, "relu"},
  }};
  return kNames;
}

std::vector<VariableSpec> weight_variables(const WeightAttrs& attrs, const Shape& kernel, int64_t outputs,
                                           int64_t fan_in, int64_t fan_out) {
  std::vector<VariableSpec> variables;
  VariableSpec spec;
  spec.name = "kernel";
  spec.shape = kernel;
  spec.initializer = {attrs.kernel_initializer, attrs.kernel_stddev, fan_in, fan_out};
  spec.decay = true;
  variables.push_back(spec);
  if (attrs.use_bias) {
    spec.name = "bias";
    spec.shape = Shape{outputs};
    // Keras takes a vector's length for both fans.
    spec.initializer = {attrs.bias_initializer, attrs.bias_stddev, spec.shape[0], spec.shape[0]};
    spec.decay = false;
    variables.push_back(spec);
  }
  return variables;
}

Status check_batch_input(const Shape& shape) {
  const auto dims = shape.dims();
  if (!dims.empty() && std::ranges::all_of(dims, [](int64_t dim) { return dim >= 1; })) return {};
  return {StatusCode::kBadData,
          fmt::format("expected an input [N, ...] with no empty extent, found {}", batch_shape(shape))};
}

Status check_image_input(const Shape& shape) {
  if (shape.rank() != 4) {
    return {StatusCode::kBadData, fmt::format("expected an input [N, H, W, C], found one of rank {}: {}",
                                              shape.rank(), batch_shape(shape))};
  }
  return check_batch_input(shape);
}

Status check_channels_input(const Shape& shape) {
  if (shape.rank() < 2) {
    return {StatusCode::kBadData,
            fmt::format("expected an input [N, ..., channels], found {}", batch_shape(shape))};
  }
  return check_batch_input(shape);
}

}  // namespace nacre
