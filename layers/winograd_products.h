#pragma once

#include <cstdint>

namespace nacre::winograd {

/// c[m][n] = a[m][k] * b[k][n], where b lies in panels of pack_b and rows of c have room for n rounded up to
/// 16 floats.
struct BlockedProduct {
  int64_t m = 0;
  int64_t n = 0;
  int64_t k = 0;
  const float* a = nullptr;
  int64_t a_row = 0;  ///< floats from one row to the next
  const float* b = nullptr;
  float* c = nullptr;
  int64_t c_row = 0;
  const float* next_b = nullptr;  ///< of the product that comes next: is fetched meanwhile, if not null
};

/// The product, for few k and what must be exact: sums run over 16 terms at most and are then added up, all
/// in registers. Most of what Winograd's algorithm rounds, it rounds in these sums. The bits of an element
/// depend on its row of a and its column of b alone.
void multiply_in_blocks(const BlockedProduct& product);

}  // namespace nacre::winograd
