#include "layers/live_terms.h"

#include <algorithm>

#include "engine/tensor.h"
#include "layers/aligned_floats.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "layers/live_terms.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
// Highway's ops, for the target that foreach_target.h chose.
#include <hwy/highway.h>

#include "engine/vectors-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nacre {
namespace HWY_NAMESPACE {
namespace {

void transpose_here(int64_t rows, int64_t columns, const float* from, int64_t from_step, float* to,
                    int64_t to_step) {
  int64_t whole_rows = 0;
  int64_t whole_columns = 0;
#if HWY_TARGET != HWY_SCALAR
  const Tag d;
  whole_rows = rows / kLanes * kLanes;
  whole_columns = columns / kLanes * kLanes;
  for (int64_t j = 0; j < whole_columns; j += kLanes) {
    for (int64_t i = 0; i < whole_rows; i += kLanes) {
      Vector v[kLanes];
#pragma GCC unroll 16
      for (int64_t k = 0; k < kLanes; ++k) v[k] = hn::LoadU(d, from + (i + k) * from_step + j);
      transpose(d, v);
#pragma GCC unroll 16
      for (int64_t k = 0; k < kLanes; ++k) hn::StoreU(v[k], d, to + (j + k) * to_step + i);
    }
  }
#endif
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = i < whole_rows ? whole_columns : 0; j < columns; ++j) {
      to[j * to_step + i] = from[i * from_step + j];
    }
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace nacre
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace nacre {

HWY_EXPORT(transpose_here);

LiveTerms::LiveTerms(int64_t rows, int64_t depth, int64_t group)
    : rows_(rows),
      depth_(depth),
      group_(std::min(rows, group)),
      blocks_(std::max<int64_t>(1, (depth + kMaxDepth - 1) / kMaxDepth)),
      // Whole lines, where rows begin with one.
      block_depth_(align_floats((depth + blocks_ - 1) / blocks_)) {
  static_assert(kMaxDepth == align_floats(kMaxDepth));
}

size_t LiveTerms::rows_bytes() const {
  return align_up(static_cast<size_t>(rows_ * blocks_) * sizeof(LiveRow));
}

size_t LiveTerms::alive_bytes() const {
  return align_up(static_cast<size_t>(rows_) * sizeof(LiveBits));
}

size_t LiveTerms::terms_bytes() const {
  return align_up(static_cast<size_t>(rows_ * depth_));
}

size_t LiveTerms::bytes() const {
  const int64_t deepest = std::min(depth_, kMaxDepth);
  return rows_bytes() + alive_bytes() + terms_bytes() + float_bytes(rows_ * (depth_ + deepest));
}

LiveTerms::Lists LiveTerms::lists_of(int64_t group, int64_t block, std::byte* lists) const {
  const int64_t first = first_row(group);
  const int64_t at = first * depth_ + rows_of(group) * begin(block);
  auto* const rows = reinterpret_cast<LiveRow*>(lists) + block * rows_ + first;
  lists += rows_bytes();
  auto* const alive = reinterpret_cast<LiveBits*>(lists) + first;
  lists += alive_bytes();
  auto* const terms = reinterpret_cast<uint8_t*>(lists);
  lists += terms_bytes();
  auto* const values = reinterpret_cast<float*>(lists);
  float* const rest = values + rows_ * depth_;
  return {rows, alive, terms + at, values + at, rest + first * std::min(depth_, kMaxDepth)};
}

int64_t LiveTerms::rows_of(int64_t group) const {
  return std::min(group_, rows_ - first_row(group));
}

void LiveTerms::list(int64_t group, const float* a, int64_t row_step, int64_t term_step,
                     std::byte* lists) const {
  const int64_t count = rows_of(group);
  a += first_row(group) * row_step;
  for (int64_t block = 0; block < blocks_; ++block) {
    const Lists to = lists_of(group, block, lists);
    const int64_t depth = depth_of(block);
    const float* from = a + begin(block) * term_step;
    int64_t step = row_step;
    if (term_step != 1) {
      transpose_block(depth, count, from, term_step, to.transposed, depth);
      from = to.transposed;
      step = depth;
    }
    list_live_rows(count, {depth, from, step, to.alive, to.rows, to.terms, to.values}, true);
  }
}

int64_t LiveTerms::lists(int64_t group, int64_t block, const std::byte* lists) const {
  const LiveRow* row = lists_of(group, block, const_cast<std::byte*>(lists)).rows;
  int64_t count = 0;
  for (const LiveRow* const end = row + rows_of(group); row < end; row += row->together) ++count;
  return count;
}

void LiveTerms::multiply(int64_t group, int64_t block, const std::byte* lists, const float* panel,
                         const LiveSums& sums, LiveAhead& ahead, int64_t line) const {
  // Only read here.
  const Lists from = lists_of(group, block, const_cast<std::byte*>(lists));
  sum_live_rows(rows_of(group), depth_of(block), {from.rows, from.terms, from.values, panel, line, 0}, kWidth,
                sums, ahead);
}

void transpose_block(int64_t rows, int64_t columns, const float* from, int64_t from_step, float* to,
                     int64_t to_step) {
  HWY_DYNAMIC_DISPATCH(transpose_here)(rows, columns, from, from_step, to, to_step);
}

}  // namespace nacre
#endif  // HWY_ONCE
