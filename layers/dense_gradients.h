#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "layers/live_terms.h"

namespace nacre {

/// The gradients of a dense layer y = x * kernel + bias, with x [n, in] and kernel [in, units], some rows of
/// the kernel at a time: with those rows in the cache, their part of the input's gradient and their own
/// gradient. Behind a relu most gradients of y may be zero, behind a dropout more of them; then both products
/// leave those out.
class DenseGradients {
 public:
  /// `sparse`: many gradients of y are zero.
  DenseGradients(int64_t in, int64_t units, bool sparse);

  /// Rows of the kernel in a chunk; the last may have fewer.
  [[nodiscard]] int64_t chunk_rows() const { return chunk_rows_; }
  /// Memory for up to `n` images: what all chunks read, and of each thread. Multiples of 64.
  [[nodiscard]] size_t shared_bytes(int64_t n) const;
  [[nodiscard]] size_t thread_bytes(int64_t n) const;

  /// What all chunks read, from the gradient [n, units].
  void prepare(int64_t n, const float* gradient, int threads, std::byte* shared) const;

  struct Chunk {
    int64_t n;
    int64_t begin;  ///< rows of the kernel
    int64_t rows;
    const float* x;
    const float* gradient;
    const float* kernel;
    float* x_gradient;  ///< null when it is not wanted
    const std::byte* shared;
    std::byte* scratch;
    /// What will be read for `rows` * units elements when both products are done; may be null.
    std::array<const float*, 2> soon;
  };
  /// Writes the columns [begin, begin + rows) of the gradient of x.
  void input(const Chunk& chunk) const;
  /// Writes the gradient of these rows of the kernel, [rows, units], to `result`. Brings the next chunk's
  /// near.
  void kernel(const Chunk& chunk, float* result) const;

 private:
  void input_by_matrices(const Chunk& chunk) const;
  void input_by_lists(const Chunk& chunk) const;
  void kernel_by_matrices(const Chunk& chunk, float* result) const;
  void kernel_by_lists(const Chunk& chunk, float* result) const;
  void copy_columns(const Chunk& chunk, int64_t first, int64_t count, float* panel) const;

  /// The gradient of y by rows, and its transpose.
  [[nodiscard]] LiveTerms by_images(int64_t n) const;
  [[nodiscard]] LiveTerms by_units(int64_t n) const;
  /// Elements of the kernel that the next chunk has.
  [[nodiscard]] int64_t next_floats(const Chunk& chunk) const;

  int64_t in_;
  int64_t units_;
  bool sparse_;
  int64_t chunk_rows_;
};

}  // namespace nacre
