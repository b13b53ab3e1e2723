#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "layers/fetch_ahead.h"

namespace nacre {

/// A row of a matrix and a block of its depth. Rows that are summed together lie behind each other and have
/// one list of terms.
struct LiveRow {
  std::array<uint64_t, 2> alive;  ///< a bit for each element
  int32_t row;
  int32_t terms;
  int32_t together;  ///< of the first of them: how many they are
};

/// Where sums go: c[r][j] = (adds ? c[r][j] : 0) + sum over the terms, for rows that are `c_step` floats
/// apart.
struct LiveSums {
  float* c;
  int64_t c_step;
  bool adds;
};

/// A matrix [rows, depth] of many zeros, such as the gradient behind a relu and a dropout, as lists of its
/// other elements, and its product with a dense one. Rows whose elements are alive in much the same places
/// share a list of all these: then a vector of the dense matrix is loaded once for several. The sums are
/// taken in ascending order of depth, which is cut into blocks by its length alone, and what a row has of
/// another's list are zeros, which change no sum. So the bits of a row of the product depend on that row of
/// the matrix alone.
///
/// The dense matrix comes as panels of one block's depth and kWidth columns, which stay in the first-level
/// cache while the rows' lists go by. Its elements must be finite.
class LiveTerms {
 public:
  static constexpr int64_t kWidth = 64;  ///< columns of a panel

  /// `group`: so many rows are listed, sorted and multiplied by one call.
  LiveTerms(int64_t rows, int64_t depth, int64_t group);

  /// Of the lists; a multiple of 64. Fewer rows or less depth need no more.
  [[nodiscard]] size_t bytes() const;
  static constexpr int64_t kMaxDepth = 112;  ///< of a block; LiveRow has as many bits
  static constexpr int64_t kPanelFloats = kMaxDepth * kWidth;

  [[nodiscard]] int64_t groups() const { return (rows_ + group_ - 1) / group_; }
  [[nodiscard]] int64_t first_row(int64_t group) const { return group * group_; }
  [[nodiscard]] int64_t rows_of(int64_t group) const;
  [[nodiscard]] int64_t blocks() const { return blocks_; }
  [[nodiscard]] int64_t begin(int64_t block) const { return block * depth_ / blocks_; }
  [[nodiscard]] int64_t depth_of(int64_t block) const { return begin(block + 1) - begin(block); }

  /// Lists a group's elements: (r, k) lies at a[r * row_step + k * term_step]. One of the steps must be 1.
  void list(int64_t group, const float* a, int64_t row_step, int64_t term_step, std::byte* lists) const;

  /// The sums over k of a block of a(r, k) panel[k][j], for the rows of a group, which `sums` counts from 0,
  /// and j < kWidth. The panel is 64-byte aligned. Between rows the next parts of `ahead` are asked for:
  /// fetches_of() in all.
  void multiply(int64_t group, int64_t block, const std::byte* lists, const float* panel,
                const LiveSums& sums, std::span<FetchAhead> ahead = {}) const;
  [[nodiscard]] int64_t fetches_of(int64_t group) const { return rows_of(group); }

 private:
  // A vector of a list may be written beyond its end.
  static constexpr int64_t kRoom = 16;

  struct Lists {
    LiveRow* rows;
    int32_t* places;  ///< of a term: where its row of the panel begins
    float* values;
  };
  /// Lists `count` rows from `first` on, together or in parts, as takes less time. Row r of the block begins
  /// at from[r * from_step].
  void list_rows(int64_t depth, LiveRow* first, int64_t count, const float* from, int64_t from_step,
                 const Lists& lists) const;
  /// Of each block and, behind them, of one that is being sorted.
  [[nodiscard]] size_t rows_bytes() const;
  /// Of the first row of a group and a block.
  [[nodiscard]] Lists lists_of(int64_t group, int64_t block, std::byte* lists) const;
  /// From one row's lists to the next's.
  [[nodiscard]] int64_t row_step() const { return depth_ + blocks_ * kRoom; }

  int64_t rows_;
  int64_t depth_;
  int64_t group_;
  int64_t blocks_;
};

/// to[j][i] = from[i][j] for i < rows, j < columns; lines are `from_step` and `to_step` floats apart.
void transpose_block(int64_t rows, int64_t columns, const float* from, int64_t from_step, float* to,
                     int64_t to_step);

}  // namespace nacre
