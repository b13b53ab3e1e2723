#pragma once

#include <cstdint>

#include "layers/winograd_kernels.h"

namespace nacre::winograd {

/// Whether what is below computes an algorithm for so many channels. Of one channel the direct path is as
/// fast.
inline constexpr int64_t kLeastFew = 2;
inline constexpr int64_t kMostFew = 4;
constexpr bool takes_few(const Algorithm& algorithm, int64_t channels) {
  return algorithm.rows == 4 && algorithm.size == 3 && channels >= kLeastFew && channels <= kMostFew;
}

/// One row of tiles of F(4x4, 3x3) on an image of few channels. What there is of a tile at the points is so
/// little that some tiles go all the way, from the image to its sums or their pooling, within registers and
/// the first-level cache.
struct RowOfFew {
  TilesOfImage from;
  int64_t channels = 0;
  int64_t tiles = 0;
  const float* packed = nullptr;  ///< the kernel by kernel_to_points, as panels
  int64_t packed_plane = 0;       ///< floats from one point to the next
  int64_t filters = 0;
  const float* bias = nullptr;  ///< may be null
  bool relu = false;
};

/// Its outputs, `height` x `width` of them inside. A sum is that of the products at each point in ascending
/// order of the channels, taken back along the row and then along the column: its bits depend on nothing
/// else.
void few_to_output(const RowOfFew& row, int64_t height, int64_t width, const Pixels<float>& pixels);

/// The same, pooled by FusedPool::of_pairs on the way: `height` x `width` cells of the tiles are inside.
void few_to_pooled(const RowOfFew& row, int64_t height, int64_t width, const PooledCells& pooled);

}  // namespace nacre::winograd
