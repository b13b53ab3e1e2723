#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

#include "engine/status.h"

namespace nacre {

/// The extents of a tensor, outermost first: activations are [N, H, W, C], convolution kernels [H, W, in,
/// out], dense kernels [in, out]. Up to 8 dimensions; every extent is >= 0 and the product fits in 2^48
/// elements, so that sizes in bytes never overflow. A scalar has rank 0 and one element.
class Shape {
 public:
  static constexpr int kMaxRank = 8;
  static constexpr int64_t kMaxElements = int64_t{1} << 48;

  Shape() = default;
  /// For extents that the program itself knows to be valid; `make` is for those that come from outside.
  Shape(std::initializer_list<int64_t> dims);

  /// Checks rank, signs and the product (kBadData when one is wrong).
  static Result<Shape> make(std::span<const int64_t> dims);

  [[nodiscard]] int rank() const { return rank_; }
  [[nodiscard]] int64_t operator[](int i) const { return dims_[static_cast<size_t>(i)]; }
  [[nodiscard]] std::span<const int64_t> dims() const { return {dims_.data(), static_cast<size_t>(rank_)}; }
  [[nodiscard]] int64_t num_elements() const;

  /// The same shape with another first extent: [n, ...]. Requires rank >= 1.
  [[nodiscard]] Shape with_batch(int64_t n) const;
  /// Elements of one entry of the batch: the product of all extents but the first.
  [[nodiscard]] int64_t elements_per_row() const;

  [[nodiscard]] bool operator==(const Shape& other) const;
  /// "[2, 3]"; "[]" for a scalar.
  [[nodiscard]] std::string to_string() const;

 private:
  std::array<int64_t, kMaxRank> dims_{};
  int rank_ = 0;
};

}  // namespace nacre
