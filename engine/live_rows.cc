#include "engine/live_rows.h"

#include <algorithm>
#include <bit>
#include <cstring>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/live_rows.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
// Highway's ops, for the target that foreach_target.h chose.
#include <hwy/highway.h>

#include "engine/vectors-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nacre {
namespace HWY_NAMESPACE {
namespace {

// Of one row, eight chains of multiply-adds keep the units busy. Of several, registers hold the sums of
// kMostLiveRows x kSharedPanels * 2 vectors.
// Without vectors there are none to share.
inline constexpr int kMostTogether = HWY_TARGET == HWY_SCALAR ? 1 : kMostLiveRows;
inline constexpr int kSharedPanels = kTileRows / kMostLiveRows;
inline constexpr int64_t kLivePanel = 2 * kLanes;  ///< columns
inline constexpr int64_t kLivePanels = kLiveWidth / kLivePanel;
static_assert(kLivePanels % kSharedPanels == 0);
inline constexpr int kPanelsOfOne = static_cast<int>(std::min<int64_t>(kLivePanels, 4));

/// Which of `depth` elements are not zero (a NaN is not).
LiveBits find_live(int64_t depth, const float* from) {
  const Tag d;
  LiveBits alive{};
  const auto bits_of = [&](const auto& lanes) HWY_ATTR {
    uint8_t bytes[8];
    hn::StoreMaskBits(d, hn::Not(hn::Eq(lanes.load(from), hn::Zero(d))), bytes);
    uint64_t bits = 0;
    // No more than was stored: a load that spans several stores waits for them.
    std::memcpy(&bits, bytes, (kLanes + 7) / 8);
    return bits;
  };
  for (int64_t k = 0; k < depth; k += 64) {
    uint64_t word = 0;
    const int64_t end = std::min<int64_t>(depth, k + 64);
    int64_t i = k;
    for (; i + kLanes <= end; i += kLanes) word |= bits_of(Whole{i}) << (i - k);
    if (i < end) word |= bits_of(Part{i, static_cast<size_t>(end - i) * sizeof(float)}) << (i - k);
    alive[static_cast<size_t>(k / 64)] = word;
  }
  return alive;
}

/// Sorts rows, the longest lists first: those of nearly the same length have most in common.
void sort_live_rows(int64_t count, const LiveBits* alive, LiveRow* rows) {
  std::array<int32_t, kLiveDepth + 1> place_of{};  // of the next row with so many terms
  for (int64_t r = 0; r < count; ++r) ++place_of[static_cast<size_t>(terms_of(alive[r]))];
  int32_t longer = 0;
  for (size_t length = place_of.size(); length-- > 0;) longer += std::exchange(place_of[length], longer);
  for (int64_t r = 0; r < count; ++r) {
    rows[place_of[static_cast<size_t>(terms_of(alive[r]))]++].row = static_cast<int32_t>(r);
  }
}

/// One list of kCount rows.
template <int kCount>
void list_terms(const LiveBits& alive, const LiveLists& lists) {
  const float* rows[kCount];
  for (int i = 0; i < kCount; ++i) rows[i] = lists.a + lists.rows[i].row * lists.lda;
  uint8_t* terms = lists.terms;
  float* values = lists.values;
  int64_t base = 0;
  for (uint64_t bits : alive) {
    for (; bits != 0; bits &= bits - 1, values += kCount) {
      const int64_t k = base + std::countr_zero(bits);
      *terms++ = static_cast<uint8_t>(k);
#pragma GCC unroll 8
      for (int i = 0; i < kCount; ++i) values[i] = rows[i][k];
    }
    base += 64;
  }
}

using ListTerms = void (*)(const LiveBits&, const LiveLists&);
/// list_terms for 1, 2, .. rows.
template <int... kLess>
constexpr std::array<ListTerms, sizeof...(kLess)> listing(std::integer_sequence<int, kLess...> /*less*/) {
  return {list_terms<kLess + 1>...};
}

/// Lists of `count` rows, together or in parts.
void list_together(int64_t count, const LiveLists& lists) {
  LiveUnion all;
  for (int64_t i = 0; i < count; ++i) all.take(lists.alive[lists.rows[i].row]);
  const int32_t shared = terms_of(all.alive);
  if (count > 1 && !should_share(count, shared, all.own)) {
    list_together(count / 2, lists);
    return list_together(count - count / 2, lists.from(count / 2));
  }
  lists.rows->terms = shared;
  lists.rows->together = static_cast<int32_t>(count);
  static constexpr auto kListing = listing(std::make_integer_sequence<int, kMostTogether>());
  kListing[static_cast<size_t>(count - 1)](all.alive, lists);
}

void list_live_rows_here(int64_t count, const LiveLists& lists, bool sorts) {
  for (int64_t r = 0; r < count; ++r) {
    lists.alive[r] = find_live(lists.depth, lists.a + r * lists.lda);
    lists.rows[r].row = static_cast<int32_t>(r);
  }
  if (sorts) sort_live_rows(count, lists.alive, lists.rows);
  const int64_t parts = (count + kMostTogether - 1) / kMostTogether;
  for (int64_t part = 0; part < parts; ++part) {
    const int64_t begin = part * count / parts;
    list_together((part + 1) * count / parts - begin, lists.from(begin));
  }
}

LiveUnion live_in_any_here(int64_t count, int64_t depth, const float* a, int64_t lda) {
  LiveUnion all;
  for (int64_t i = 0; i < count; ++i) all.take(find_live(depth, a + i * lda));
  return all;
}

/// The sums of kRows rows over kPanels panels.
template <int kRows, int kPanels>
HWY_INLINE void sum_panels(const LiveProduct& product, const LiveSums& sums, const LiveAhead& ahead) {
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
  // What is asked for in vain must be mapped, or each time its address is looked up.
  const bool fetches = ahead.floats > 0;
  const float* next[2] = {fetches ? ahead.at[0] : product.b, fetches ? ahead.at[1] : product.b};
  const int64_t line_ahead = fetches ? LiveAhead::kLine : 0;
  const float* values = product.values;
  const uint8_t* term = product.terms;
  for (const uint8_t* const end = term + product.rows->terms; term < end; ++term, values += kRows) {
    const float* const line = product.b + *term * product.line;
    // A row alone waits for its loads, and has none to spare.
    if constexpr (kRows > 1) {
#pragma GCC unroll 2
      for (int i = 0; i < kPanels; ++i) {
        __builtin_prefetch(next[i], 0, 2);
        next[i] += line_ahead;
      }
    }
    Vector b[kVectors];
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      b[v] = hn::LoadU(d, line + v / 2 * product.panel_stride + v % 2 * kLanes);
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
HWY_INLINE void sum_rows(LiveProduct product, int64_t panels, LiveSums sums, LiveAhead& ahead) {
  constexpr int kAtOnce = kRows == 1 ? kPanelsOfOne : kSharedPanels;
  while (panels > 0) {
    int64_t done = kAtOnce;
    if constexpr (kAtOnce > 2) {
      if (panels >= kAtOnce) {
        sum_panels<kRows, kAtOnce>(product, sums, ahead);
      } else {
        sum_panels<kRows, 1>(product, sums, ahead);
        done = 1;
      }
    } else {
      // The last panel twice, for want of another.
      if (panels < kAtOnce) product.panel_stride = 0;
      sum_panels<kRows, kAtOnce>(product, sums, ahead);
    }
    if constexpr (kRows > 1) ahead.advance(product.rows->terms, kAtOnce);
    product.b += done * product.panel_stride;
    sums.c += done * kLivePanel;
    panels -= done;
  }
  if constexpr (kRows == 1) {
    const int64_t lines = ahead.floats <= 0 ? 0 : product.rows->terms / 8 + 1;
    for (int64_t i = 0; i < lines; ++i) {
      for (const float* at : ahead.at) __builtin_prefetch(at + i * LiveAhead::kLine, 0, 2);
    }
    ahead.advance(lines, 2);
  }
}

using SumRows = void (*)(const LiveProduct&, int64_t, const LiveSums&, LiveAhead&);
/// sum_rows for 1, 2, .. rows.
template <int... kLess>
constexpr std::array<SumRows, sizeof...(kLess)> live_kernels(std::integer_sequence<int, kLess...> /*less*/) {
  return {[](const LiveProduct& product, int64_t panels, const LiveSums& sums, LiveAhead& ahead)
              HWY_ATTR { sum_rows<kLess + 1>(product, panels, sums, ahead); }...};
}

void sum_live_rows_here(int64_t count, int64_t depth, LiveProduct product, int64_t columns,
                        const LiveSums& sums, LiveAhead& ahead) {
  static constexpr auto kKernels = live_kernels(std::make_integer_sequence<int, kMostTogether>());
  const int64_t panels = (columns + kLivePanel - 1) / kLivePanel;
  if (product.panel_stride == 0) product.panel_stride = kLivePanel;
  while (count > 0) {
    const int64_t together = product.rows->together;
    if (together == 1) {
      sum_rows<1>(product, panels, sums, ahead);  // little work for a call
    } else {
      kKernels[static_cast<size_t>(together - 1)](product, panels, sums, ahead);
    }
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

#if HWY_ONCE
namespace nacre {

HWY_EXPORT(list_live_rows_here);
HWY_EXPORT(live_in_any_here);
HWY_EXPORT(sum_live_rows_here);

void list_live_rows(int64_t count, const LiveLists& lists, bool sorts) {
  HWY_DYNAMIC_DISPATCH(list_live_rows_here)(count, lists, sorts);
}

LiveUnion live_in_any(int64_t count, int64_t depth, const float* a, int64_t lda) {
  return HWY_DYNAMIC_DISPATCH(live_in_any_here)(count, depth, a, lda);
}

void sum_live_rows(int64_t count, int64_t depth, const LiveProduct& product, int64_t columns,
                   const LiveSums& sums, LiveAhead& ahead) {
  HWY_DYNAMIC_DISPATCH(sum_live_rows_here)(count, depth, product, columns, sums, ahead);
}

}  // namespace nacre
#endif  // HWY_ONCE
