#pragma once

#include <cstdint>

namespace nacre {

/// A sum of outer products, what a kernel's gradient is made of:
///   c[i][j] = (accumulate ? c[i][j] : 0) + sum over y < rows, x < columns of a(y, x)[i] * b(y, x)[j]
/// for i < m, j < n, where a(y, x) begins at a + y * a_row + x * a_column and b(y, x) likewise. The a of
/// neighbours may overlap, as patches of an image do. Nothing is packed and nothing needs alignment: meant
/// for some hundred terms at most, whose a and b are in the cache. Nothing but what is named is read or
/// written.
///
/// The terms are summed in order of y, then x, in one register; then c is added. So the bits depend on the
/// terms and the instruction set alone.
struct OuterProducts {
  int64_t m = 0;
  int64_t n = 0;
  int64_t rows = 1;
  int64_t columns = 0;
  const float* a = nullptr;
  int64_t a_row = 0;
  int64_t a_column = 0;
  const float* b = nullptr;
  int64_t b_row = 0;
  int64_t b_column = 0;
  float* c = nullptr;
  int64_t c_row = 0;  ///< floats from c[i] to c[i + 1]
  bool accumulate = false;
};

void add_outer_products(const OuterProducts& products);

}  // namespace nacre
