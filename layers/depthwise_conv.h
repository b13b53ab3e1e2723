#pragma once

#include <cstdint>
#include <vector>

#include "engine/op_def.h"
#include "layers/depthwise_kernels.h"
#include "layers/op_common.h"
#include "layers/window.h"

namespace nacre {

/// The attributes of DepthwiseConv2D. Names and defaults are Keras's, but for kernel_initializer and
/// kernel_stddev, which every layer with a kernel has (Keras: depthwise_initializer).
struct DepthwiseAttrs : WeightAttrs {
  Extent2 kernel_size{0, 0};
  Extent2 strides{1, 1};
  Padding padding = Padding::kValid;
  int64_t depth_multiplier = 1;

  template <typename Visitor>
  void visit(Visitor& v) {
    v.field("kernel_size", kernel_size, 1, 1024, "height and width of the kernel");
    v.field("strides", strides, 1, 1024,
            "steps of the kernel over the image; both the same, as in TensorFlow");
    v.field("padding", padding,
            "\"valid\": the kernel stays inside the image; \"same\": zeros around it make the output "
            "ceil(input / stride) large, the odd one at the bottom or right");
    v.field("depth_multiplier", depth_multiplier, 1, int64_t{1} << 20,
            "output channels for each input channel");
    visit_weights(v);
  }
};

/// Images [H, W, channels / multiplier] to [H', W', channels]: output channel c * multiplier + m sums input
/// channel c with kernel [kh, kw, c, m], which in memory is a kernel [kh, kw, channels].
struct DepthwiseConv {
  DepthwiseGeometry g;
  int64_t multiplier = 1;
  Clip clip = Clip::kNone;

  [[nodiscard]] int64_t input_channels() const { return g.channels / multiplier; }
  [[nodiscard]] int64_t input_size() const { return g.image_size() / multiplier; }
  [[nodiscard]] Shape output(int64_t batch) const { return g.output(batch); }
  /// Bytes of a thread's scratch for depthwise_forward.
  [[nodiscard]] size_t scratch_bytes() const;
  /// The image with every channel `multiplier` times: itself, or a copy in `scratch`, of image_size().
  const float* spread(const float* image, float* scratch) const;
};

/// kBadData when `input` is no batch of images, the kernel does not fit or a size is out of bounds.
Result<DepthwiseConv> make_depthwise_conv(const DepthwiseAttrs& attrs, const Shape& input);

/// kernel and bias.
std::vector<VariableSpec> depthwise_variables(const DepthwiseAttrs& attrs, const DepthwiseConv& conv);

/// Multiply-adds of one image, each as 2.
int64_t depthwise_flops(const DepthwiseConv& conv);

/// The fast forward of a batch, with this kernel and bias (null: none). Uses scratch_bytes() of each thread.
void depthwise_forward(const DepthwiseConv& conv, const ForwardArgs<float>& args, const float* kernel,
                       const float* bias);

/// The readable form, of one image.
template <typename T>
void depthwise_forward_reference(const DepthwiseConv& conv, const T* image, const T* kernel, const T* bias,
                                 T* out) {
  const int64_t channels = conv.g.channels;
  const Window2& window = conv.g.window;
  for (int64_t o = 0; o < window.y.out * window.x.out; ++o, out += channels) {
    for (int64_t c = 0; c < channels; ++c) {
      T sum = bias == nullptr ? T{0} : bias[c];
      for_each_cell(window, o / window.x.out, o % window.x.out, [&](int64_t iy, int64_t ix, int64_t cell) {
        const int64_t pixel = (iy * window.x.in + ix) * conv.input_channels();
        sum += image[pixel + c / conv.multiplier] * kernel[cell * channels + c];
      });
      if (conv.clip != Clip::kNone && sum < T{0}) sum = T{0};
      out[c] = conv.clip == Clip::kRelu6 && sum > T{6} ? T{6} : sum;
    }
  }
}

}  // namespace nacre
