#pragma once

#include <array>
#include <cstdint>

namespace nacre::sparse {

/// A live cell: where its patch begins, and its gradient.
struct Live {
  int32_t offset;
  float grad;
};

/// Filters whose lists are made at a time.
inline constexpr int64_t kFilters = 16;

/// Cells of one stripe and one block of filters, [rows][columns]; the next cell of a row is `filters` bytes
/// or floats on, the next row follows at once.
struct CellBlock {
  const uint8_t* winners = nullptr;
  const float* grad = nullptr;
  int64_t filters = 0;  ///< of the whole layer
  int64_t block = 0;    ///< filters of this block, at most kFilters
  int64_t rows = 0;
  int64_t columns = 0;
  int64_t origin = 0;    ///< of the first cell's window in the image, in floats; it may lie outside
  int64_t row_step = 0;  ///< floats from a cell to the one below
  int64_t column_step = 0;
};

/// The live cells of every filter, in order: filter f's begin at lists + f * capacity. `offsets` has the
/// place of each possible winner from the cell's own; counts[f] cells are alive.
void list_live_cells(const CellBlock& cells, const std::array<int32_t, 256>& offsets, int64_t capacity,
                     Live* lists, int64_t* counts);

/// sums[ky][i] += sum over the cells of grad * image[offset + ky * row + i], i < line. Whole vectors are read
/// and written: up to 15 floats beyond `line`.
void add_patches(const Live* cells, int64_t count, const float* image, int64_t row, int64_t kernel_rows,
                 int64_t line, float* sums, int64_t sums_row);

/// sums[f] += the gradients of filter f's live cells.
void add_live_gradients(const uint8_t* winners, const float* grad, int64_t cells, int64_t filters,
                        float* sums);

}  // namespace nacre::sparse
