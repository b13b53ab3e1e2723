#include "layers/live_terms.h"

#include <algorithm>
#include <array>
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

// Eight chains of multiply-adds keep the units busy: as many vectors of one row, or half as many of two.
constexpr int kVectors = static_cast<int>(std::min<int64_t>(LiveTerms::kWidth / kLanes, 8));
constexpr int kRows = kVectors <= 4 ? 2 : 1;
constexpr int64_t kColumns = kVectors * kLanes;

/// The sums of `kCount` rows, whose lists are equally long.
template <int kCount>
HWY_INLINE void multiply_rows(int64_t count, const int32_t* const* places, const float* const* values,
                              const float* HWY_RESTRICT panel, const float* const* before, float* const* c,
                              bool adds) {
  const Tag d;
  Vector sum[kCount][kVectors];
#pragma GCC unroll 2
  for (int r = 0; r < kCount; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      sum[r][v] = before[r] == nullptr ? hn::Zero(d) : hn::LoadU(d, before[r] + v * kLanes);
    }
  }
  for (int64_t i = 0; i < count; ++i) {
#pragma GCC unroll 2
    for (int r = 0; r < kCount; ++r) {
      const Vector factor = hn::Set(d, values[r][i]);
      const float* const line = panel + places[r][i];
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) {
        sum[r][v] = hn::MulAdd(factor, hn::Load(d, line + v * kLanes), sum[r][v]);
      }
    }
  }
#pragma GCC unroll 2
  for (int r = 0; r < kCount; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      float* const to = c[r] + v * kLanes;
      hn::StoreU(adds ? hn::Add(hn::LoadU(d, to), sum[r][v]) : sum[r][v], d, to);
    }
  }
}

void multiply_here(const LiveRow* rows, int64_t count, const int32_t* places, const float* values,
                   int64_t row_step, const float* panel, const LiveSums& sums, std::span<FetchAhead> ahead) {
  for (int64_t i = 0; i < count; i += 2) {
    const int64_t pair = std::min<int64_t>(2, count - i);
    for (int64_t column = 0; column < LiveTerms::kWidth; column += kColumns) {
      const int32_t* places_of[2];
      const float* values_of[2];
      const float* before[2];
      float* to[2];
      for (int64_t r = 0; r < pair; ++r) {
        const int64_t row = rows[i + r].row;
        places_of[r] = places + row * row_step;
        values_of[r] = values + row * row_step;
        before[r] = sums.before == nullptr ? nullptr : sums.before + row * sums.before_step + column;
        to[r] = sums.c + row * sums.c_step + column;
      }
      if (pair == kRows) {
        multiply_rows<kRows>(rows[i].terms, places_of, values_of, panel + column, before, to, sums.adds);
      } else {
        for (int64_t r = 0; r < pair; ++r) {
          multiply_rows<1>(rows[i].terms, places_of + r, values_of + r, panel + column, before + r, to + r,
                           sums.adds);
        }
      }
    }
    for (FetchAhead& memory : ahead) memory.next();
  }
}

/// Lists what is not zero (a NaN is not) of `depth` elements, and returns how many these are.
int64_t list_here(int64_t depth, const float* from, int64_t step, int32_t* places, float* values) {
  int64_t count = 0;
  int64_t k = 0;
#if HWY_TARGET != HWY_SCALAR
  if (step == 1) {
    const Tag d;
    const hn::RebindToSigned<Tag> di;
    const Vector zero = hn::Zero(d);
    auto place = hn::Mul(hn::Iota(di, 0), hn::Set(di, static_cast<int32_t>(LiveTerms::kWidth)));
    const auto next = hn::Set(di, static_cast<int32_t>(kLanes * LiveTerms::kWidth));
    for (; k + kLanes <= depth; k += kLanes) {
      const Vector v = hn::LoadU(d, from + k);
      const auto live = hn::Not(hn::Eq(v, zero));
      hn::StoreU(compressed(d, v, live), d, values + count);
      hn::StoreU(compressed(di, place, hn::RebindMask(di, live)), di, places + count);
      count += static_cast<int64_t>(hn::CountTrue(d, live));
      place = hn::Add(place, next);
    }
  }
#endif
  for (; k < depth; ++k) {
    values[count] = from[k * step];
    places[count] = static_cast<int32_t>(k * LiveTerms::kWidth);
    count += values[count] != 0 ? 1 : 0;
  }
  return count;
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

HWY_EXPORT(multiply_here);
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
    const auto [rows, places, values] = lists_of(group, block, lists);
    LiveRow* const unsorted = lists_of(group, blocks_, lists).rows;
    std::array<int32_t, kMaxDepth + 1> place_of{};  // of the next row with so many terms
    for (int64_t r = 0; r < count; ++r) {
      const float* from = a + r * row_step_of_a + begin(block) * term_step;
      const int64_t terms = HWY_DYNAMIC_DISPATCH(list_here)(depth_of(block), from, term_step,
                                                            places + r * row_step(), values + r * row_step());
      unsorted[r] = {static_cast<int32_t>(r), static_cast<int32_t>(terms)};
      ++place_of[static_cast<size_t>(terms)];
    }
    // Two rows are multiplied together: with lists of nearly the same length little is added to the shorter.
    // The longest come first.
    int32_t longer = 0;
    for (size_t terms = place_of.size(); terms-- > 0;) longer += std::exchange(place_of[terms], longer);
    for (int64_t r = 0; r < count; ++r)
      rows[place_of[static_cast<size_t>(unsorted[r].terms)]++] = unsorted[r];
    for (int64_t r = 0; r + 1 < count; r += 2) {
      LiveRow& shorter = rows[r + 1];
      const int64_t missing = rows[r].terms - shorter.terms;
      const int64_t end = shorter.row * row_step() + shorter.terms;
      std::fill_n(places + end, missing, 0);
      std::fill_n(values + end, missing, 0.0F);
      shorter.terms = rows[r].terms;
    }
  }
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
