#include "layers/window.h"

#include <fmt/format.h>

#include <array>

#include "layers/op_common.h"

namespace nacre {
namespace {

Result<WindowAxis> make_axis(std::string_view name, int64_t in, int64_t window, int64_t stride,
                             Padding padding, int64_t dilation) {
  WindowAxis axis{in, 0, window, stride, 0, dilation};
  const int64_t reach = (window - 1) * dilation + 1;
  if (padding == Padding::kSame) {
    axis.out = (in + stride - 1) / stride;
    axis.before = std::max<int64_t>(0, (axis.out - 1) * stride + reach - in) / 2;
    return axis;
  }
  if (in < reach) {
    return Status(StatusCode::kBadData,
                  fmt::format("a window of {} {} does not fit into an input of {} (padding \"valid\")", name,
                              reach, in));
  }
  axis.out = (in - reach) / stride + 1;
  return axis;
}

}  // namespace

std::span<const EnumName<Padding>> enum_names(Padding) {
  static constexpr std::array<EnumName<Padding>, 2> kNames{{
      {Padding::kValid, "valid"},
      {Padding::kSame, "same"},
  }};
  return kNames;
}

Result<Window2> make_window(const Shape& input, Extent2 window, Extent2 strides, Padding padding,
                            Extent2 dilation) {
  NACRE_RETURN_IF_ERROR(check_image_input(input));
  Window2 result;
  NACRE_ASSIGN_OR_RETURN(
      result.y, make_axis("height", input[1], window.height, strides.height, padding, dilation.height));
  NACRE_ASSIGN_OR_RETURN(result.x,
                         make_axis("width", input[2], window.width, strides.width, padding, dilation.width));
  return result;
}

Result<ChannelWindow> make_pool_window(const AttrMap& attributes, const Shape& input) {
  NACRE_ASSIGN_OR_RETURN(const PoolAttrs attrs, parse_attributes<PoolAttrs>(attributes));
  NACRE_ASSIGN_OR_RETURN(const Window2 window,
                         make_window(input, attrs.pool_size, attrs.resolved_strides(), attrs.padding));
  // Bounds every product of sizes that the layers form.
  const std::array work{window.y.out, window.x.out, window.y.window, window.x.window, input[3]};
  NACRE_RETURN_IF_ERROR(Shape::make(work).status().at("windows of one image"));
  return ChannelWindow{window, input[3]};
}

Result<AttrMap> normalize_pool_attributes(const AttrMap& attributes) {
  NACRE_ASSIGN_OR_RETURN(PoolAttrs attrs, parse_attributes<PoolAttrs>(attributes));
  attrs.strides = attrs.resolved_strides();
  return write_attributes(attrs);
}

}  // namespace nacre
