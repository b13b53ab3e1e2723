#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "engine/live_rows.h"

namespace nacre {

/// A matrix [rows, depth] of many zeros, such as the gradient behind a relu and a dropout, as lists of its
/// other elements, and its product with a dense one (engine/live_rows.h). The sums take live elements
/// only, in ascending order of depth, which is cut into blocks by its length alone. So the bits of a row of
/// the product depend on that row of the matrix alone.
///
/// The dense matrix comes as panels of one block's depth and kWidth columns, which stay in the first-level
/// cache while the rows' lists go by.
class LiveTerms {
 public:
  static constexpr int64_t kWidth = kLiveWidth;  ///< columns of a panel

  /// `group`: so many rows are listed, sorted and multiplied by one call.
  LiveTerms(int64_t rows, int64_t depth, int64_t group);

  /// Of the lists; a multiple of 64. Fewer rows or less depth need no more.
  [[nodiscard]] size_t bytes() const;
  static constexpr int64_t kMaxDepth = kLiveDepth;  ///< of a block
  static constexpr int64_t kPanelFloats = kMaxDepth * kWidth;

  [[nodiscard]] int64_t groups() const { return (rows_ + group_ - 1) / group_; }
  [[nodiscard]] int64_t first_row(int64_t group) const { return group * group_; }
  [[nodiscard]] int64_t rows_of(int64_t group) const;
  [[nodiscard]] int64_t blocks() const { return blocks_; }
  [[nodiscard]] int64_t begin(int64_t block) const { return std::min(depth_, block * block_depth_); }
  [[nodiscard]] int64_t depth_of(int64_t block) const { return begin(block + 1) - begin(block); }

  /// Lists a group's elements: (r, k) lies at a[r * row_step + k * term_step]. One of the steps must be 1.
  void list(int64_t group, const float* a, int64_t row_step, int64_t term_step, std::byte* lists) const;

  /// Into how few lists a group's rows have come, which are at most as many.
  [[nodiscard]] int64_t lists(int64_t group, int64_t block, const std::byte* lists) const;

  /// The sums over k of a block of a(r, k) panel[k][j], for the rows of a group, which `sums` counts from 0,
  /// and j < kWidth. The panel's lines are `line` floats apart.
  void multiply(int64_t group, int64_t block, const std::byte* lists, const float* panel,
                const LiveSums& sums, LiveAhead& ahead, int64_t line = kWidth) const;

 private:
  /// Of a group and a block.
  struct Lists {
    LiveRow* rows;
    LiveBits* alive;  ///< for use in between
    uint8_t* terms;
    float* values;
    float* transposed;  ///< the block's part of a matrix that comes transposed
  };
  [[nodiscard]] Lists lists_of(int64_t group, int64_t block, std::byte* lists) const;
  [[nodiscard]] size_t rows_bytes() const;
  [[nodiscard]] size_t alive_bytes() const;
  [[nodiscard]] size_t terms_bytes() const;

  int64_t rows_;
  int64_t depth_;
  int64_t group_;
  int64_t blocks_;
  int64_t block_depth_;  ///< of all but the last; a multiple of 16 where there are several
};

/// to[j][i] = from[i][j] for i < rows, j < columns; lines are `from_step` and `to_step` floats apart.
void transpose_block(int64_t rows, int64_t columns, const float* from, int64_t from_step, float* to,
                     int64_t to_step);

}  // namespace nacre
