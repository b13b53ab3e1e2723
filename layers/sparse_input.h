#pragma once

#include <cstddef>
#include <cstdint>

#include "layers/conv.h"
#include "layers/pool_kernels.h"

namespace nacre {

/// The gradient of a convolution's input behind a max pooling of 2 x 2, from what survived it: a live cell
/// adds its gradient times its filter's kernel to the inputs under its winner,
///   grad_image[winner's patch, c] += grad[cell, f] * kernel[.., c, f].
/// All four patches of a cell lie in a square of (kernel + 1)^2 inputs: for a kernel of 3 x 3 and a vector of
/// channels it stays in registers, and moves on by two columns from cell to cell.
class SparseInputGradient {
 public:
  /// Only sizes are looked at; needs can().
  SparseInputGradient(const ConvGeometry& geometry, const FusedPool& pool);

  /// Kernels of 3 x 3 with steps of 1, one group, no dilation; poolings of 2 x 2 inside the image.
  static bool can(const ConvGeometry& geometry, const FusedPool& pool);

  /// The kernel [3][3][channels][filters] as compute reads it: 64-byte aligned, so many floats.
  [[nodiscard]] int64_t packed_floats() const;
  void pack(const float* kernel, int threads, float* packed) const;

  /// Bytes of scratch of one thread.
  [[nodiscard]] size_t scratch_bytes() const;

  /// Writes the gradient of one image, all of it. `winners` and `grad` are the image's, [pooled
  /// height][width][filters].
  void compute(const uint8_t* winners, const float* grad, const float* packed, std::byte* scratch,
               float* grad_image) const;

 private:
  ConvGeometry g_;
  FusedPool pool_;
};

}  // namespace nacre
