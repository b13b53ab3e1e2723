#pragma once

#include <cstdint>
#include <memory>

#include "engine/op_def.h"
#include "layers/op_common.h"
#include "layers/window.h"

namespace nacre {

/// The attributes of Conv2D. Names and defaults are Keras's.
struct ConvAttrs : WeightAttrs {
  int64_t filters = 0;
  Extent2 kernel_size{0, 0};
  Extent2 strides{1, 1};
  Padding padding = Padding::kValid;
  Extent2 dilation_rate{1, 1};
  int64_t groups = 1;

  template <typename Visitor>
  void visit(Visitor& v) {
    v.field("filters", filters, 1, int64_t{1} << 20, "number of output channels");
    v.field("kernel_size", kernel_size, 1, 1024, "height and width of the kernel");
    v.field("strides", strides, 1, 1024, "steps of the kernel over the image");
    v.field("padding", padding,
            "\"valid\": the kernel stays inside the image; \"same\": zeros around it make the output "
            "ceil(input / stride) large, the odd one at the bottom or right");
    v.field("dilation_rate", dilation_rate, 1, 1024,
            "pixels from one cell of the kernel to the next; above 1 only with strides of 1, as in Keras");
    v.field("groups", groups, 1, int64_t{1} << 20,
            "parts that channels and filters are cut into, each convolved by itself");
    visit_weights(v);
  }
};

/// The sizes of one convolution: images [H, W, channels] to [H', W', filters], kernel [kh, kw, channels /
/// groups, filters]. Group i of the filters sees group i of the channels.
struct ConvGeometry {
  Window2 window;
  int64_t channels = 0;
  int64_t filters = 0;
  int64_t groups = 1;
  bool relu = false;
  bool relu6 = false;  ///< besides relu: sums above 6 become 6; fast paths of inference only

  [[nodiscard]] int64_t image_size() const { return window.y.in * window.x.in * channels; }
  /// The output's rows, each a unit of ConvKernels.
  [[nodiscard]] WindowAxis rows() const { return {window.y.out, window.y.out, 1, 1, 0, 1}; }
  [[nodiscard]] int64_t positions() const { return window.y.out * window.x.out; }
  [[nodiscard]] int64_t group_channels() const { return channels / groups; }
  [[nodiscard]] int64_t group_filters() const { return filters / groups; }
  /// Elements under the kernel, of one group.
  [[nodiscard]] int64_t patch() const { return window.cells() * group_channels(); }
  [[nodiscard]] int64_t kernel_size() const { return patch() * filters; }
  /// True when the patches are the image itself, as for kernels of 1x1.
  [[nodiscard]] bool is_pointwise() const {
    return window.cells() == 1 && window.y.stride == 1 && window.x.stride == 1;
  }
  /// True when the sums of all images are one product of two matrices as they lie.
  [[nodiscard]] bool is_product() const { return is_pointwise() && groups == 1; }
};

/// kBadData when `input` is no batch of images, the kernel does not fit or a size is out of bounds.
Result<ConvGeometry> make_conv_geometry(const ConvAttrs& attrs, const Shape& input);

/// kernel and bias.
std::vector<VariableSpec> conv_variables(const ConvAttrs& attrs, const ConvGeometry& geometry);

/// Multiply-adds of one image, each as 2.
int64_t conv_flops(const ConvGeometry& geometry);

}  // namespace nacre
