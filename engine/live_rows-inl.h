// Products of a matrix with many zeros, compiled once for every instruction set: foreach_target.h flips
// HWY_TARGET_TOGGLE.
//
// Behind a relu half of all elements are zeros, often more. A row of the product is summed over the others of
// its row alone, which it lists; a zero adds nothing to a sum. With a list of its own each multiply-add loads
// its vector of the other matrix, and waits for it. Rows are mostly alive in much the same places: then
// several share a list of what is alive in any of them, and a vector is loaded once for all. What a row has
// of another's list are zeros, which change no bit (the other matrix must be finite). So the bits of a row of
// the product depend on that row alone.
#if defined(NACRE_ENGINE_LIVE_ROWS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef NACRE_ENGINE_LIVE_ROWS_INL_H
#undef NACRE_ENGINE_LIVE_ROWS_INL_H
#else
#define NACRE_ENGINE_LIVE_ROWS_INL_H
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <utility>

#include "engine/live_rows.h"
#include "engine/vectors-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nacre {
namespace HWY_NAMESPACE {
namespace {

// Of one row, eight chains of multiply-adds keep the units busy. Of several, registers hold the sums of
// kMostLiveRows x kSharedPanels * 2 vectors.
inline constexpr int kMostLiveRows = 6;
inline constexpr int kSharedPanels = kTileRows / kMostLiveRows;
inline constexpr int64_t kLivePanel = 2 * kLanes;  ///< columns
inline constexpr int64_t kLivePanels = kLiveWidth / kLivePanel;
static_assert(kLivePanels % kSharedPanels == 0);
inline constexpr int kPanelsOfOne = static_cast<int>(std::min<int64_t>(kLivePanels, 4));

/// Which of `depth` elements are not zero (a NaN is not).
inline LiveBits find_live(int64_t depth, const float* from) {
  const Tag d;
  LiveBits alive{};
  for_each_vector(depth, [&](const auto& lanes) HWY_ATTR {
    uint8_t bits[8] = {};
    hn::StoreMaskBits(d, hn::Not(hn::Eq(lanes.load(from), hn::Zero(d))), bits);
    uint64_t word = 0;
    std::memcpy(&word, bits, sizeof(word));
    alive[static_cast<size_t>(lanes.at / 64)] |= word << (lanes.at % 64);
  });
  return alive;
}

inline int32_t terms_of(const LiveBits& alive) {
  return std::popcount(alive[0]) + std::popcount(alive[1]);
}

/// Whether rows with `own` terms of their own take less time with one list of `shared` terms.
inline bool should_share(int64_t rows, int64_t shared, int64_t own) {
  return rows * shared * 4 <= own * 5;
}

/// What is alive in any of some rows, and how many terms these have.
struct LiveUnion {
  LiveBits alive{};
  int64_t own = 0;

  void take(const LiveBits& row) {
    alive[0] |= row[0];
    alive[1] |= row[1];
    own += terms_of(row);
  }
};

/// Which elements of `count` rows, which are `lda` apart, are alive.
inline void find_live_rows(int64_t count, int64_t depth, const float* a, int64_t lda, LiveBits* alive,
                           LiveRow* rows) {
  for (int64_t r = 0; r < count; ++r) {
    alive[r] = find_live(depth, a + r * lda);
    rows[r].row = static_cast<int32_t>(r);
  }
}

/// Sorts rows, the longest lists first: those of nearly the same length have most in common.
inline void sort_live_rows(int64_t count, const LiveBits* alive, LiveRow* rows) {
  std::array<int32_t, kLiveDepth + 1> place_of{};  // of the next row with so many terms
  for (int64_t r = 0; r < count; ++r) ++place_of[static_cast<size_t>(terms_of(alive[r]))];
  int32_t longer = 0;
  for (size_t length = place_of.size(); length-- > 0;) longer += std::exchange(place_of[length], longer);
  for (int64_t r = 0; r < count; ++r) {
    rows[place_of[static_cast<size_t>(terms_of(alive[r]))]++].row = static_cast<int32_t>(r);
  }
}

/// Rows of a matrix, `lda` apart, and where their lists go: those of rows[i] and what is summed together with
/// it to terms[i * depth] and values[i * depth] on, the values term by term.
struct LiveLists {
  int64_t depth;
  const float* a;
  int64_t lda;
  const LiveBits* alive;  ///< of each row of a
  LiveRow* rows;
  uint8_t* terms;
  float* values;

  [[nodiscard]] LiveLists from(int64_t row) const {
    return {depth, a, lda, alive, rows + row, terms + row * depth, values + row * depth};
  }
};

/// Lists of `count` rows, together or in parts.
inline void list_together(int64_t count, const LiveLists& lists) {
  LiveUnion all;
  for (int64_t i = 0; i < count; ++i) all.take(lists.alive[lists.rows[i].row]);
  const int32_t shared = terms_of(all.alive);
  if (count > 1 && !should_share(count, shared, all.own)) {
    list_together(count / 2, lists);
    return list_together(count - count / 2, lists.from(count / 2));
  }
  lists.rows->terms = shared;
  lists.rows->together = static_cast<int32_t>(count);
  const float* rows[kMostLiveRows];
  for (int64_t i = 0; i < count; ++i) rows[i] = lists.a + lists.rows[i].row * lists.lda;
  uint8_t* terms = lists.terms;
  float* values = lists.values;
  int64_t base = 0;
  for (uint64_t bits : all.alive) {
    for (; bits != 0; bits &= bits - 1) {
      const int64_t k = base + std::countr_zero(bits);
      *terms++ = static_cast<uint8_t>(k);
      for (int64_t i = 0; i < count; ++i) *values++ = rows[i][k];
    }
    base += 64;
  }
}

inline void list_live_rows(int64_t count, const LiveLists& lists) {
  const int64_t parts = (count + kMostLiveRows - 1) / kMostLiveRows;
  for (int64_t part = 0; part < parts; ++part) {
    const int64_t begin = part * count / parts;
    list_together((part + 1) * count / parts - begin, lists.from(begin));
  }
}

/// A product's factors, of one list of rows.
struct LiveProduct {
  const LiveRow* rows;
  const uint8_t* terms;
  const float* values;
  const float* b;  ///< (k, j) at k * line + j, of each panel of kLivePanel columns
  int64_t line;
  int64_t panel_stride;  ///< from panel to panel
};

/// The sums of kRows rows over kPanels panels.
template <int kRows, int kPanels>
HWY_INLINE void sum_panels(const LiveProduct& product, const LiveSums& sums) {
  constexpr int kVectors = 2 * kPanels;
  const Tag d;
  const auto place = [&](int r) { return sums.c + product.rows[r].row * sums.step; };
  Vector sum[kRows][kVectors];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) sum[r][v] = hn::Zero(d);
    if (sums.kind != LiveSum::kContinue) continue;
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) sum[r][v] = hn::LoadU(d, place(r) + v * kLanes);
  }
  const float* values = product.values;
  const uint8_t* term = product.terms;
  for (const uint8_t* const end = term + product.rows->terms; term < end; ++term, values += kRows) {
    const float* const line = product.b + *term * product.line;
    Vector b[kVectors];
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      b[v] = hn::Load(d, line + v / 2 * product.panel_stride + v % 2 * kLanes);
    }
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const Vector factor = hn::Set(d, values[r]);
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) sum[r][v] = hn::MulAdd(factor, b[v], sum[r][v]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
    float* const c = place(r);
    if (sums.kind == LiveSum::kAdd) {
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) sum[r][v] = hn::Add(hn::LoadU(d, c + v * kLanes), sum[r][v]);
    }
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) hn::StoreU(sum[r][v], d, c + v * kLanes);
  }
}

/// The sums of kRows rows over `panels` panels. What lies behind them in a row of sums may be written, too.
template <int kRows>
HWY_INLINE void sum_rows(LiveProduct product, int64_t panels, LiveSums sums) {
  constexpr int kAtOnce = kRows == 1 ? kPanelsOfOne : kSharedPanels;
  while (panels > 0) {
    int64_t done = kAtOnce;
    if (panels >= kAtOnce) {
      sum_panels<kRows, kAtOnce>(product, sums);
    } else if constexpr (kAtOnce > 2) {
      sum_panels<kRows, 1>(product, sums);
      done = 1;
    } else {
      // The last panel twice, for want of another.
      product.panel_stride = 0;
      sum_panels<kRows, kAtOnce>(product, sums);
    }
    product.b += done * product.panel_stride;
    sums.c += done * kLivePanel;
    panels -= done;
  }
}

using SumRows = void (*)(const LiveProduct&, int64_t, const LiveSums&);
/// sum_rows for 1, 2, .. rows.
template <int... kLess>
constexpr std::array<SumRows, sizeof...(kLess)> live_kernels(std::integer_sequence<int, kLess...> /*less*/) {
  return {[](const LiveProduct& product, int64_t panels, const LiveSums& sums)
              HWY_ATTR { sum_rows<kLess + 1>(product, panels, sums); }...};
}

/// The sums of `count` rows, as list_live_rows lists them for that depth, over `panels` panels. Calls
/// between(rows) behind so many of them.
template <typename Between>
HWY_INLINE void sum_live_rows(int64_t count, int64_t depth, LiveProduct product, int64_t panels,
                              const LiveSums& sums, const Between& between) {
  static constexpr auto kKernels = live_kernels(std::make_integer_sequence<int, kMostLiveRows>());
  while (count > 0) {
    const int64_t together = product.rows->together;
    if (together == 1) {
      sum_rows<1>(product, panels, sums);
    } else {
      kKernels[static_cast<size_t>(together - 1)](product, panels, sums);
    }
    between(together);
    product.rows += together;
    product.terms += together * depth;
    product.values += together * depth;
    count -= together;
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace nacre
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
