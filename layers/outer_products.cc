#include "layers/outer_products.h"

#include <array>
#include <type_traits>
#include <utility>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "layers/outer_products.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
// Highway's ops, for the target that foreach_target.h chose.
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include "engine/vectors-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nacre {
namespace HWY_NAMESPACE {
namespace {

// A machine with AVX-512 has twice as many multiply-adds a cycle of half its vectors.
constexpr int64_t kHalf = 8;
constexpr bool kHasHalf = kLanes == 2 * kHalf;
using Half = hn::CappedTag<float, kHalf>;

/// Vectors with D's lanes in memory: whole ones, or one of which the first `count` floats exist.
template <class D, bool kWhole>
struct Vectors {
  static constexpr auto kWidth = static_cast<int64_t>(hn::MaxLanes(D()));
  int64_t count;

  HWY_INLINE hn::Vec<D> load(const float* x, int v) const {
    if constexpr (kWhole) {
      return hn::LoadU(D(), x + v * kWidth);
    } else if constexpr (std::is_same_v<D, Tag>) {
      return Part{0, static_cast<size_t>(count) * sizeof(float)}.load(x);
    } else {
      return hn::MaskedLoad(hn::FirstN(D(), static_cast<size_t>(count)), D(), x);
    }
  }
  HWY_INLINE void store(hn::Vec<D> sum, float* x, int v) const {
    if constexpr (kWhole) {
      hn::StoreU(sum, D(), x + v * kWidth);
    } else if constexpr (std::is_same_v<D, Tag>) {
      Part{0, static_cast<size_t>(count) * sizeof(float)}.store(sum, x);
    } else {
      hn::BlendedStore(sum, hn::FirstN(D(), static_cast<size_t>(count)), D(), x);
    }
  }
};

/// `kRows` x `kVectors` vectors of c, or of one vector the first `count` floats, with what they are made of.
template <int kRows, int kVectors, bool kWhole, class D>
void add_tile(const OuterProducts& p, const float* a, const float* b, float* c, int64_t count) {
  static_assert(kWhole || kVectors == 1);
  const D d;
  const Vectors<D, kWhole> vectors{count};
  hn::Vec<D> sum[kRows][kVectors];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    if (p.accumulate) hwy::Prefetch(c + r * p.c_row);
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) sum[r][v] = hn::Zero(d);
  }
  for (int64_t y = 0; y < p.rows; ++y) {
    const float* ax = a + y * p.a_row;
    const float* bx = b + y * p.b_row;
    for (int64_t x = 0; x < p.columns; ++x, ax += p.a_column, bx += p.b_column) {
      hn::Vec<D> panel[kVectors];
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) panel[v] = vectors.load(bx, v);
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        const auto factor = hn::Set(d, ax[r]);
#pragma GCC unroll 2
        for (int v = 0; v < kVectors; ++v) sum[r][v] = hn::MulAdd(factor, panel[v], sum[r][v]);
      }
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      float* to = c + r * p.c_row;
      vectors.store(p.accumulate ? hn::Add(vectors.load(to, v), sum[r][v]) : sum[r][v], to, v);
    }
  }
}

using Tile = void (*)(const OuterProducts&, const float*, const float*, float*, int64_t);

/// For 1, 2, .. rows.
template <int kVectors, bool kWhole, class D, int... kRows>
constexpr std::array<Tile, kTileRows> tiles(std::integer_sequence<int, kRows...> /*rows*/) {
  return {add_tile<kRows + 1, kVectors, kWhole, D>...};
}

void add_outer_products_here(const OuterProducts& p) {
  constexpr std::make_integer_sequence<int, kTileRows> kRows;
  static constexpr auto kTwoVectors = tiles<2, true, Tag>(kRows);
  static constexpr auto kOneVector = tiles<1, true, Tag>(kRows);
  static constexpr auto kPart = tiles<1, false, Tag>(kRows);
  static constexpr auto kHalfPart = tiles<1, false, std::conditional_t<kHasHalf, Half, Tag>>(kRows);
  // Nearly equal tiles, rather than whole ones and a small rest whose sums are too few to hide their latency.
  const int64_t count = (p.m + kTileRows - 1) / kTileRows;
  for (int64_t j = 0; j < p.n;) {
    const int64_t left = p.n - j;
    const auto& part = kHasHalf && left <= kHalf ? kHalfPart : kPart;
    const auto& tile = left >= 2 * kLanes ? kTwoVectors : left >= kLanes ? kOneVector : part;
    for (int64_t t = 0; t < count; ++t) {
      const int64_t i = t * p.m / count;
      const int64_t rows = (t + 1) * p.m / count - i;
      tile[static_cast<size_t>(rows - 1)](p, p.a + i, p.b + j, p.c + i * p.c_row + j, left);
    }
    j += left >= 2 * kLanes ? 2 * kLanes : kLanes;
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace nacre
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace nacre {

HWY_EXPORT(add_outer_products_here);

void add_outer_products(const OuterProducts& products) {
  HWY_DYNAMIC_DISPATCH(add_outer_products_here)(products);
}

}  // namespace nacre
#endif  // HWY_ONCE
