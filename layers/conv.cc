#include "layers/conv.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace nacre {

Result<ConvGeometry> make_conv_geometry(const ConvAttrs& attrs, const Shape& input) {
  const Extent2& dilation = attrs.dilation_rate;
  if (std::max(attrs.strides.height, attrs.strides.width) > 1 &&
      std::max(dilation.height, dilation.width) > 1) {
    return Status(StatusCode::kBadData, "attributes \"strides\" and \"dilation_rate\" are both above 1");
  }
  ConvGeometry geometry;
  NACRE_ASSIGN_OR_RETURN(geometry.window,
                         make_window(input, attrs.kernel_size, attrs.strides, attrs.padding, dilation));
  geometry.channels = input[3];
  geometry.filters = attrs.filters;
  geometry.groups = attrs.groups;
  if (input[3] % attrs.groups != 0 || attrs.filters % attrs.groups != 0) {
    return Status(StatusCode::kBadData,
                  fmt::format("expected channels and filters that {} groups divide, found {} and {}",
                              attrs.groups, input[3], attrs.filters));
  }
  geometry.relu = attrs.activation == Activation::kRelu;
  const Window2& window = geometry.window;
  const std::array output{input[0], window.y.out, window.x.out, attrs.filters};
  NACRE_RETURN_IF_ERROR(Shape::make(output).status().at("output"));
  // Bounds every product of sizes that the kernels form.
  const std::array work{window.y.out,    window.x.out,      window.y.window,
                        window.x.window, geometry.channels, attrs.filters};
  NACRE_RETURN_IF_ERROR(Shape::make(work).status().at("multiplications of one image"));
  return geometry;
}

std::vector<VariableSpec> conv_variables(const ConvAttrs& attrs, const ConvGeometry& geometry) {
  const Window2& window = geometry.window;
  const Shape kernel{window.y.window, window.x.window, geometry.group_channels(), geometry.filters};
  return weight_variables(attrs, kernel, geometry.filters, geometry.patch(),
                          window.cells() * geometry.filters);
}

int64_t conv_flops(const ConvGeometry& geometry) {
  return 2 * geometry.positions() * geometry.kernel_size();
}

}  // namespace nacre
