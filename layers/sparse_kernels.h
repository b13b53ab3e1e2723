#pragma once

#include <array>
#include <cstdint>
#include <span>

namespace nacre::sparse {

/// The live cells of one filter: where the patch of each begins, and its gradient.
struct LiveCells {
  const int32_t* places;
  const float* grads;
  int64_t count;
};

/// Filters whose lists are made at a time.
inline constexpr int64_t kFilters = 16;

/// Cells of one stripe and one block of filters; the next cell is `filters` bytes or floats on.
struct CellBlock {
  const uint8_t* winners = nullptr;
  const float* grad = nullptr;
  int64_t filters = 0;  ///< of the whole layer
  int64_t block = 0;    ///< filters of this block, at most kFilters
  int64_t cells = 0;
  const int32_t* bases = nullptr;  ///< the place of every cell's window in the image, in floats
  int64_t positions = 0;           ///< of a window
  const std::array<int32_t, 256>* offsets = nullptr;  ///< from a window's place to that of each winner
};

/// Room for one filter's list: of all cells, and a vector more.
constexpr int64_t list_capacity(int64_t cells) {
  return (cells + 15) / 16 * 16 + 16;
}

/// The live cells of every filter, in order: filter f's begin at f * list_capacity(cells) of `places` and of
/// `grads`; counts[f] of them.
void list_live_cells(const CellBlock& cells, int32_t* places, float* grads, int64_t* counts);

/// For every filter: sums[filter][ky][i] += sum over its cells of grad * image[place + ky * row + i], i <
/// line; bias[filter] += sum of grad. Whole vectors are read and written: up to 15 floats beyond `line`.
void add_patches(std::span<const LiveCells> filters, const float* image, int64_t row, int64_t kernel_rows,
                 int64_t line, float* sums, int64_t sums_row, float* bias);

/// sums[f] += the gradients of filter f's live cells.
void add_live_gradients(const uint8_t* winners, const float* grad, int64_t cells, int64_t filters,
                        float* sums);

}  // namespace nacre::sparse
