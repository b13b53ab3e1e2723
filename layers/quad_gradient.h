#pragma once

#include <cstddef>
#include <cstdint>

#include "layers/conv.h"
#include "layers/pool_kernels.h"

namespace nacre {

/// The gradient of a convolution's kernel behind a max pooling of 2 x 2, for few channels: there a row of a
/// patch fills but a part of a vector, so vectors are of filters instead. Under each tap of the kernel lie
/// four inputs, one for each position of a pooled cell; from such a quad every filter takes that of its
/// winner,
///   grad_kernel[tap, c, f] = sum over cells of grad[cell, f] * quad(cell, tap, c)[winner(cell, f)],
/// and the sums of all taps stay in registers. The quads of 3 x 3 taps lie in a window of 4 x 4 inputs of one
/// channel (quad_windows.h), each within eight floats, of which the same permutation makes all filters'
/// inputs at any tap. Dead cells count as zeros.
class QuadKernelGradient {
 public:
  /// Only sizes are looked at; needs can().
  QuadKernelGradient(const ConvGeometry& geometry, const FusedPool& pool);

  /// Steps of 1, one group, no dilation; poolings of 2 x 2 inside the image.
  static bool can(const ConvGeometry& geometry, const FusedPool& pool);

  /// Floats of the sums, [patch + 1][filters rounded up to 16], of which the last row is the bias's.
  [[nodiscard]] int64_t sums_floats() const;
  /// Bytes of scratch of one thread.
  [[nodiscard]] size_t scratch_bytes() const;

  /// Adds one image's part to `sums`. `winners` and `grad` are the image's, [pooled height][width][filters].
  void add(const float* image, const uint8_t* winners, const float* grad, std::byte* scratch,
           float* sums) const;

  /// The gradients of the kernel, [kh][kw][channels][filters], and of the bias; either may be null.
  void write(const float* sums, float* grad_kernel, float* grad_bias) const;

 private:
  [[nodiscard]] int64_t window_columns() const;
  [[nodiscard]] int64_t plane_floats() const;
  [[nodiscard]] int64_t window_floats() const;

  ConvGeometry g_;
  FusedPool pool_;
};

}  // namespace nacre
