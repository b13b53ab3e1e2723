#pragma once

#include <algorithm>
#include <cstdint>

namespace nacre::gemm {

// A micro-tile of C stays in registers; a panel of B (one tile wide, one block deep) in the first-level
// cache, a block of A in the second, a block of B in the third. All but kMaxDepth may change freely;
// kMaxDepth is part of every result.
inline constexpr int64_t kMaxDepth = 320;   ///< k of one block
inline constexpr int64_t kBlockRows = 192;  ///< rows of A in one block; a multiple of every tile's height
inline constexpr int64_t kBlockColumns =
    1024;                                    ///< columns of B in one block; a multiple of every tile's width
inline constexpr int64_t kMaxTileRows = 12;  ///< of any instruction set
inline constexpr int64_t kMaxTileColumns = 32;  ///< of any instruction set

constexpr int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}
constexpr int64_t round_up(int64_t a, int64_t b) {
  return ceil_div(a, b) * b;
}

/// How k is cut: blocks of equal depth (the last may be shorter), as few as kMaxDepth allows. A function of k
/// alone.
constexpr int64_t block_depth(int64_t k) {
  return k <= kMaxDepth ? k : ceil_div(k, ceil_div(k, kMaxDepth));
}

/// Floats of the workspace before the block of B: the largest block of A of a product, and a byte for each of
/// its elements, rounded up to 64 bytes.
constexpr int64_t block_a_floats(int64_t m, int64_t depth) {
  const int64_t floats = round_up(std::min(m, kBlockRows), kMaxTileRows) * depth;
  return round_up(floats + ceil_div(floats, 4), 16);
}

}  // namespace nacre::gemm
