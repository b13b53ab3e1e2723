#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/gemm.h"
#include "engine/op_def.h"

namespace nacre {

/// The product of a dense layer in training: sums so deep that they are cut into parts, by the depth alone.
/// A thread then reads those rows of the kernel that it updated in backward, which no other has in its cache.
/// Inputs behind a relu are zero in many places; what these would add is left out.
class DenseSums {
 public:
  static constexpr int64_t kLeastDepth = 256;

  /// `chunk_rows`: the kernel's rows that a thread updates together.
  DenseSums(int64_t in, int64_t units, int64_t chunk_rows)
      : in_(in), units_(units), chunk_rows_(chunk_rows) {}

  /// Memory for up to `n` images, in all and of each thread; multiples of 64.
  [[nodiscard]] size_t shared_bytes(int64_t n) const;
  [[nodiscard]] static size_t thread_bytes();

  /// The product of x [m, in] and kernel [in, units], neither transposed; accumulate must be false. Bits do
  /// not depend on `threads`.
  void multiply(const GemmArgs& product, int threads, const Workspace& workspace) const;

 private:
  static void multiply_part(const GemmArgs& product, std::byte* scratch);
  static void multiply_block(const GemmArgs& product, std::byte* scratch);

  int64_t in_;
  int64_t units_;
  int64_t chunk_rows_;
};

}  // namespace nacre
