#pragma once

#include <cstdint>

#include "layers/window.h"

namespace nacre {

/// One convolution for each channel: image [H, W, channels] to [H', W', channels], kernel [kh, kw, channels].
/// Every channel is summed by itself, a vector of channels and up to 8 neighbouring pixels at a time.
struct DepthwiseGeometry : ChannelWindow {
  [[nodiscard]] int64_t output_size() const { return window.y.out * window.x.out * channels; }
  [[nodiscard]] int64_t kernel_size() const { return window.cells() * channels; }
};

/// How far the sums are clipped: not at all, from below at 0, or from 0 to 6. NaN stays NaN.
enum class Clip : uint8_t { kNone, kRelu, kRelu6 };

/// Where a row of a depthwise convolution is read and written; it changes no bit.
struct RowMemory {
  bool far = false;     ///< inputs are beyond the second-level cache: those of the next row are asked for
  bool bypass = false;  ///< outputs are written past the caches
};

/// Output row `oy` [W', channels] of one image: the sum over the kernel's cells inside the image in row-major
/// order, added to `bias` (null: 0), then clipped. The functions below are dispatched at run time as in
/// engine/gemm.h; a channel's bits depend on its own numbers only.
void depthwise_row(const DepthwiseGeometry& g, int64_t oy, const float* image, const float* kernel,
                   const float* bias, Clip clip, float* out, RowMemory memory = {});

/// grad_image = the gradient with respect to the image, given `grad` [H', W', channels] with respect to the
/// sums.
void depthwise_input_gradient(const DepthwiseGeometry& g, const float* grad, const float* kernel,
                              float* grad_image);

/// Adds one image's part of the gradients with respect to the kernel and the bias (null: not wanted).
void depthwise_gradients(const DepthwiseGeometry& g, const float* image, const float* grad,
                         float* grad_kernel, float* grad_bias);

}  // namespace nacre
