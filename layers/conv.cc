#include "layers/conv.h"

#include <array>

namespace nacre {

Result<ConvGeometry> make_conv_geometry(const ConvAttrs& attrs, const Shape& input) {
  ConvGeometry geometry;
  NACRE_ASSIGN_OR_RETURN(geometry.window,
                         make_window(input, attrs.kernel_size, attrs.strides, attrs.padding));
  geometry.channels = input[3];
  geometry.filters = attrs.filters;
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
  return weight_variables(attrs, Shape{window.y.window, window.x.window, geometry.channels, geometry.filters},
                          geometry.patch(), window.cells() * geometry.filters);
}

int64_t conv_flops(const ConvGeometry& geometry) {
  return 2 * geometry.positions() * geometry.kernel_size();
}

}  // namespace nacre
