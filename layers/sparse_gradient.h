#pragma once

#include <cstdint>

#include "layers/conv.h"
#include "layers/pool_kernels.h"

namespace nacre {

/// The gradient of a convolution's kernel behind a max pooling, from what survived it: a pooled cell passes
/// its gradient to one position at most, so only its patch counts,
///   grad_kernel[.., f] = sum over live cells of grad[cell, f] * patch(winning position).
/// That is at most a quarter of the products for a pooling of 2 x 2, and fewer with every cell that relu
/// clipped. For one group and no dilation along a row.
///
/// Sums are kept as [filters][kh][line], line = kw * channels rounded up to 16 floats: a filter's sums stay
/// in registers while its live cells go by.
class SparseKernelGradient {
 public:
  SparseKernelGradient(const ConvGeometry& geometry, const FusedPool& pool);

  static bool can(const ConvGeometry& geometry);

  /// Floats of the sums, a multiple of 16.
  [[nodiscard]] int64_t sums_floats() const;
  /// Bytes of scratch of one thread.
  [[nodiscard]] size_t scratch_bytes() const;

  /// Adds one image's part to `sums`, and to `bias` [filters]. `winners` and `grad` are the image's, [pooled
  /// height][width][filters].
  void add(const float* image, const uint8_t* winners, const float* grad, std::byte* scratch, float* sums,
           float* bias) const;

  /// Kernel gradients [kh][kw][channels][filters] of the sums: row ky of filters [begin, end).
  void write(const float* sums, int64_t begin, int64_t end, float* grad_kernel) const;

 private:
  [[nodiscard]] int64_t line() const;
  [[nodiscard]] int64_t padded_width() const;

  ConvGeometry g_;
  FusedPool pool_;
  int64_t stripe_rows_ = 1;
};

}  // namespace nacre
