#include "layers/live_terms.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <utility>

#include "engine/tensor.h"

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

// Of one row, eight chains of multiply-adds keep the units busy. Of several, registers hold the sums of
// kMostRows x kVectors vectors; each vector of the panel is loaded once for all of them.
constexpr int kMostRows = 6;
constexpr int kVectors = kTileRows * 2 / kMostRows;
static_assert(LiveTerms::kWidth % (kVectors * kLanes) == 0);
constexpr int kVectorsOfOne = static_cast<int>(std::min<int64_t>(LiveTerms::kWidth / kLanes, 8));

/// What is summed together: rows of one list.
struct Together {
  const LiveRow* rows;
  const int32_t* places;
  const float* values;  ///< of row r from r * row_step on
  int64_t row_step;
};

/// The sums of kRows rows for kVectors vectors of columns from `column` on.
template <int kRows, int kVectors>
HWY_INLINE void multiply_rows(const Together& list, const float* HWY_RESTRICT panel, const LiveSums& sums,
                              int64_t column) {
  const Tag d;
  Vector sum[kRows][kVectors];
  const float* values[kRows];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
    values[r] = list.values + list.rows[r].row * list.row_step;
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) sum[r][v] = hn::Zero(d);
  }
  panel += column;
  const int32_t* const places = list.places;
  for (int64_t i = 0, terms = list.rows->terms; i < terms; ++i) {
    const float* const line = panel + places[i];
    Vector b[kVectors];
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) b[v] = hn::Load(d, line + v * kLanes);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const Vector factor = hn::Set(d, values[r][i]);
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) sum[r][v] = hn::MulAdd(factor, b[v], sum[r][v]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
    float* const c = sums.c + list.rows[r].row * sums.c_step + column;
    if (sums.adds) {
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) sum[r][v] = hn::Add(hn::LoadU(d, c + v * kLanes), sum[r][v]);
    }
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) hn::StoreU(sum[r][v], d, c + v * kLanes);
  }
}

template <int kRows>
HWY_INLINE void multiply_panel(const Together& list, const float* panel, const LiveSums& sums) {
  constexpr int kAtOnce = kRows == 1 ? kVectorsOfOne : kVectors;
  for (int64_t column = 0; column < LiveTerms::kWidth; column += kAtOnce * kLanes) {
    multiply_rows<kRows, kAtOnce>(list, panel, sums, column);
  }
}

using MultiplyPanel = void (*)(const Together&, const float*, const LiveSums&);
/// multiply_panel for 1, 2, .. rows.
template <int... kLess>
constexpr std::array<MultiplyPanel, sizeof...(kLess)> panel_kernels(
    std::integer_sequence<int, kLess...> /*less*/) {
  return {[](const Together& list, const float* panel, const LiveSums& sums)
              HWY_ATTR { multiply_panel<kLess + 1>(list, panel, sums); }...};
}

void multiply_here(const LiveRow* rows, int64_t count, const int32_t* places, const float* values,
                   int64_t row_step, const float* panel, const LiveSums& sums, std::span<FetchAhead> ahead) {
  static constexpr auto kKernels = panel_kernels(std::make_integer_sequence<int, kMostRows>());
  for (const LiveRow* const end = rows + count; rows < end;) {
    const int32_t together = rows->together;
    const Together list{rows, places + rows->row * row_step, values, row_step};
    if (together == 1) {
      multiply_panel<1>(list, panel, sums);
    } else {
      kKernels[static_cast<size_t>(together - 1)](list, panel, sums);
    }
    rows += together;
    for (FetchAhead& memory : ahead) {
      for (int32_t i = 0; i < together; ++i) memory.next();
    }
  }
}

/// Which of `depth` elements are not zero (a NaN is not).
std::array<uint64_t, 2> find_live_here(int64_t depth, const float* from) {
  const Tag d;
  std::array<uint64_t, 2> alive{};
  for_each_vector(depth, [&](const auto& lanes) HWY_ATTR {
    uint8_t bits[8] = {};
    hn::StoreMaskBits(d, hn::Not(hn::Eq(lanes.load(from), hn::Zero(d))), bits);
    uint64_t word = 0;
    std::memcpy(&word, bits, sizeof(word));
    alive[static_cast<size_t>(lanes.at / 64)] |= word << (lanes.at % 64);
  });
  return alive;
}

/// Lists the elements `alive` of `count` rows, whose lists may lie where they come from.
void list_here(int64_t depth, const std::array<uint64_t, 2>& alive, const LiveRow* rows, int64_t count,
               const float* from, int64_t from_step, int32_t* places, float* values, int64_t row_step) {
  const Tag d;
  const hn::RebindToSigned<Tag> di;
  const auto numbers = hn::Mul(hn::Iota(di, 0), hn::Set(di, static_cast<int32_t>(LiveTerms::kWidth)));
  int64_t listed = 0;
  for_each_vector(depth, [&](const auto& lanes) HWY_ATTR {
    const uint64_t word = alive[static_cast<size_t>(lanes.at / 64)] >> (lanes.at % 64);
    uint8_t bits[8];
    std::memcpy(bits, &word, sizeof(word));
    const auto live = hn::LoadMaskBits(d, bits);
    const auto place = hn::Add(numbers, hn::Set(di, static_cast<int32_t>(lanes.at * LiveTerms::kWidth)));
    hn::StoreU(compressed(di, place, hn::RebindMask(di, live)), di, places + rows->row * row_step + listed);
    for (int64_t r = 0; r < count; ++r) {
      const int64_t row = rows[r].row;
      const Vector v = lanes.load(from + row * from_step);
      hn::StoreU(compressed(d, v, live), d, values + row * row_step + listed);
    }
    listed += static_cast<int64_t>(hn::CountTrue(d, live));
  });
}

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
namespace {

constexpr int64_t kMostRows = 6;  // that are summed together

int64_t terms_of(const std::array<uint64_t, 2>& alive) {
  return std::popcount(alive[0]) + std::popcount(alive[1]);
}

}  // namespace

HWY_EXPORT(multiply_here);
HWY_EXPORT(find_live_here);
HWY_EXPORT(list_here);
HWY_EXPORT(transpose_here);

LiveTerms::LiveTerms(int64_t rows, int64_t depth, int64_t group)
    : rows_(rows),
      depth_(depth),
      group_(std::min(rows, group)),
      blocks_(std::max<int64_t>(1, (depth + kMaxDepth - 1) / kMaxDepth)) {}

size_t LiveTerms::rows_bytes() const {
  return align_up(static_cast<size_t>(rows_ * (blocks_ + 1)) * sizeof(LiveRow));
}

size_t LiveTerms::bytes() const {
  return rows_bytes() + align_up(static_cast<size_t>(rows_ * row_step()) * (sizeof(int32_t) + sizeof(float)));
}

LiveTerms::Lists LiveTerms::lists_of(int64_t group, int64_t block, std::byte* lists) const {
  const int64_t first = first_row(group);
  auto* rows = reinterpret_cast<LiveRow*>(lists) + block * rows_ + first;
  lists += rows_bytes();
  const int64_t at = first * row_step() + begin(block) + block * kRoom;
  auto* places = reinterpret_cast<int32_t*>(lists);
  auto* values = reinterpret_cast<float*>(places + rows_ * row_step());
  return {rows, places + at, values + at};
}

int64_t LiveTerms::rows_of(int64_t group) const {
  return std::min(group_, rows_ - first_row(group));
}

void LiveTerms::list(int64_t group, const float* a, int64_t row_step_of_a, int64_t term_step,
                     std::byte* lists) const {
  const int64_t count = rows_of(group);
  a += first_row(group) * row_step_of_a;
  for (int64_t block = 0; block < blocks_; ++block) {
    const Lists to = lists_of(group, block, lists);
    const int64_t depth = depth_of(block);
    const float* from = a + begin(block) * term_step;
    int64_t from_step = row_step_of_a;
    if (term_step != 1) {
      transpose_block(depth, count, from, term_step, to.values, row_step());
      from = to.values;
      from_step = row_step();
    }
    LiveRow* const unsorted = lists_of(group, blocks_, lists).rows;
    std::array<int32_t, kMaxDepth + 1> place_of{};  // of the next row with so many terms
    for (int64_t r = 0; r < count; ++r) {
      const auto alive = HWY_DYNAMIC_DISPATCH(find_live_here)(depth, from + r * from_step);
      unsorted[r] = {alive, static_cast<int32_t>(r), static_cast<int32_t>(terms_of(alive)), 1};
      ++place_of[static_cast<size_t>(unsorted[r].terms)];
    }
    // Rows with lists of nearly the same length, the longest first, have most in common.
    int32_t longer = 0;
    for (size_t terms = place_of.size(); terms-- > 0;) longer += std::exchange(place_of[terms], longer);
    for (int64_t r = 0; r < count; ++r) {
      to.rows[place_of[static_cast<size_t>(unsorted[r].terms)]++] = unsorted[r];
    }
    const int64_t tiles = (count + kMostRows - 1) / kMostRows;
    for (int64_t tile = 0; tile < tiles; ++tile) {
      const int64_t first = tile * count / tiles;
      list_rows(depth, to.rows + first, (tile + 1) * count / tiles - first, from, from_step, to);
    }
  }
}

void LiveTerms::list_rows(int64_t depth, LiveRow* first, int64_t count, const float* from, int64_t from_step,
                          const Lists& lists) const {
  std::array<uint64_t, 2> alive{};
  int64_t live = 0;
  for (const LiveRow& row : std::span(first, static_cast<size_t>(count))) {
    alive[0] |= row.alive[0];
    alive[1] |= row.alive[1];
    live += row.terms;
  }
  // Where a row has a list of its own, its multiply-adds wait for their loads.
  const int64_t terms = terms_of(alive);
  if (count > 1 && count * terms * 4 > live * 5) {
    list_rows(depth, first, count / 2, from, from_step, lists);
    list_rows(depth, first + count / 2, count - count / 2, from, from_step, lists);
    return;
  }
  first->terms = static_cast<int32_t>(terms);
  first->together = static_cast<int32_t>(count);
  HWY_DYNAMIC_DISPATCH(list_here)
  (depth, alive, first, count, from, from_step, lists.places, lists.values, row_step());
}

void LiveTerms::multiply(int64_t group, int64_t block, const std::byte* lists, const float* panel,
                         const LiveSums& sums, std::span<FetchAhead> ahead) const {
  // Only read here.
  const auto [rows, places, values] = lists_of(group, block, const_cast<std::byte*>(lists));
  HWY_DYNAMIC_DISPATCH(multiply_here)
  (rows, rows_of(group), places, values, row_step(), panel, sums, ahead);
}

void transpose_block(int64_t rows, int64_t columns, const float* from, int64_t from_step, float* to,
                     int64_t to_step) {
  HWY_DYNAMIC_DISPATCH(transpose_here)(rows, columns, from, from_step, to, to_step);
}

}  // namespace nacre
#endif  // HWY_ONCE
