#include "layers/live_terms.h"

#include <algorithm>

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
HWY_INLINE void multiply_rows(int64_t count, const LiveTerm* const* terms, const float* HWY_RESTRICT panel,
                              float* const* c, bool adds) {
  const Tag d;
  Vector sum[kCount][kVectors];
#pragma GCC unroll 2
  for (int r = 0; r < kCount; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) sum[r][v] = hn::Zero(d);
  }
  for (int64_t i = 0; i < count; ++i) {
#pragma GCC unroll 2
    for (int r = 0; r < kCount; ++r) {
      const LiveTerm& term = terms[r][i];
      const Vector factor = hn::Set(d, term.value);
      const float* const line = panel + term.place;
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

void multiply_here(const LiveRow* rows, int64_t count, const LiveTerm* terms, int64_t terms_step,
                   const float* panel, float* c, int64_t ldc, bool adds, std::span<FetchAhead> ahead) {
  for (int64_t i = 0; i < count; i += 2) {
    const int64_t pair = std::min<int64_t>(2, count - i);
    for (int64_t column = 0; column < LiveTerms::kWidth; column += kColumns) {
      const LiveTerm* lists[2];
      float* to[2];
      for (int64_t r = 0; r < pair; ++r) {
        lists[r] = terms + rows[i + r].row * terms_step;
        to[r] = c + rows[i + r].row * ldc + column;
      }
      if (pair == kRows) {
        multiply_rows<kRows>(rows[i].terms, lists, panel + column, to, adds);
      } else {
        for (int64_t r = 0; r < pair; ++r) {
          multiply_rows<1>(rows[i].terms, lists + r, panel + column, to + r, adds);
        }
      }
    }
    for (FetchAhead& memory : ahead) memory.next();
  }
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
HWY_EXPORT(transpose_here);

LiveTerms::LiveTerms(int64_t rows, int64_t depth, int64_t group)
    : rows_(rows),
      depth_(depth),
      group_(std::min(rows, group)),
      blocks_(std::max<int64_t>(1, (depth + kPanelFloats / kWidth - 1) / (kPanelFloats / kWidth))) {}

size_t LiveTerms::terms_offset() const {
  return align_up(static_cast<size_t>(rows_ * blocks_) * sizeof(LiveRow));
}

size_t LiveTerms::bytes() const {
  return terms_offset() + align_up(static_cast<size_t>(rows_ * depth_) * sizeof(LiveTerm));
}

int64_t LiveTerms::rows_of(int64_t group) const {
  return std::min(group_, rows_ - first_row(group));
}

void LiveTerms::list(int64_t group, const float* a, int64_t row_step, int64_t term_step,
                     std::byte* lists) const {
  const int64_t first = first_row(group);
  const int64_t count = rows_of(group);
  auto* terms = reinterpret_cast<LiveTerm*>(lists + terms_offset()) + first * depth_;
  for (int64_t block = 0; block < blocks_; ++block) {
    auto* rows = reinterpret_cast<LiveRow*>(lists) + block * rows_ + first;
    const int64_t depth = depth_of(block);
    LiveTerm* const of_block = terms + begin(block);
    for (int64_t r = 0; r < count; ++r) {
      const float* from = a + (first + r) * row_step + begin(block) * term_step;
      LiveTerm* const list = of_block + r * depth_;
      int32_t length = 0;
      for (int64_t k = 0; k < depth; ++k, from += term_step) {
        list[length] = {static_cast<int32_t>(k * kWidth), *from};
        length += *from != 0 ? 1 : 0;
      }
      rows[r] = {static_cast<int32_t>(r), length};
    }
    // Two rows are multiplied together: with lists of nearly the same length little is added to the shorter.
    std::sort(rows, rows + count, [](const LiveRow& one, const LiveRow& other) {
      return one.terms != other.terms ? one.terms > other.terms : one.row < other.row;
    });
    for (int64_t r = 0; r + 1 < count; r += 2) {
      LiveRow& shorter = rows[r + 1];
      LiveTerm* const list = of_block + shorter.row * depth_;
      std::fill(list + shorter.terms, list + rows[r].terms, LiveTerm{0, 0});
      shorter.terms = rows[r].terms;
    }
  }
}

void LiveTerms::multiply(int64_t group, int64_t block, const std::byte* lists, const float* panel, float* c,
                         int64_t ldc, bool adds, std::span<FetchAhead> ahead) const {
  const int64_t first = first_row(group);
  const auto* rows = reinterpret_cast<const LiveRow*>(lists) + block * rows_ + first;
  const auto* terms =
      reinterpret_cast<const LiveTerm*>(lists + terms_offset()) + first * depth_ + begin(block);
  HWY_DYNAMIC_DISPATCH(multiply_here)
  (rows, rows_of(group), terms, depth_, panel, c, ldc, adds, ahead);
}

void transpose_block(int64_t rows, int64_t columns, const float* from, int64_t from_step, float* to,
                     int64_t to_step) {
  HWY_DYNAMIC_DISPATCH(transpose_here)(rows, columns, from, from_step, to, to_step);
}

}  // namespace nacre
#endif  // HWY_ONCE
