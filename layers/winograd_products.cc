#include "layers/winograd_products.h"

#include <algorithm>
#include <array>
#include <utility>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "layers/winograd_products.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
// Highway's ops, for the target that foreach_target.h chose.
#include <hwy/highway.h>

#include "engine/vectors-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nacre::winograd {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using nacre::HWY_NAMESPACE::kCacheLine;
using nacre::HWY_NAMESPACE::kLanes;
using nacre::HWY_NAMESPACE::Tag;
using nacre::HWY_NAMESPACE::Vector;

constexpr int64_t kTerms = 16;
constexpr int64_t kPanel = 2 * kLanes;
// Vectors of sums of a tile: enough to hide the latency of their multiply-adds. The sums of blocks share the
// registers with them, or wait in memory where those are few.
constexpr int kMostVectors = 12;
constexpr int kGroup = 3;  // rows that are addressed from one pointer

/// kRows rows of the first kVectors vectors of a panel. Asks for the panel that lies `ahead` floats further,
/// line by line as it reads its own: the hardware foresees it only from its third line on, and not beyond a
/// page, and many lines at once are slower to come than it reads.
template <int kRows, int kVectors>
void multiply_rows(const BlockedProduct& p, const float* a, const float* HWY_RESTRICT panel, float* c,
                   ptrdiff_t ahead) {
  const Tag d;
  constexpr int kGroups = (kRows + kGroup - 1) / kGroup;
  const float* from[kGroups];
  Vector total[kRows][kVectors];
#pragma GCC unroll 4
  for (int i = 0; i < kGroups; ++i) from[i] = a + i * kGroup * p.a_row;
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) total[r][v] = hn::Zero(d);
  }
  for (int64_t k = 0; k < p.k; k += kTerms) {
    Vector sum[kRows][kVectors];
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) sum[r][v] = hn::Zero(d);
    }
    for (const float* const end = from[0] + std::min(kTerms, p.k - k); from[0] < end; panel += kPanel) {
      Vector b[kVectors];
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) b[v] = hn::Load(d, panel + v * kLanes);
      for (int64_t v = 0; v < kPanel; v += kCacheLine) __builtin_prefetch(panel + ahead + v);
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        const Vector x = hn::Set(d, from[r / kGroup][r % kGroup * p.a_row]);
#pragma GCC unroll 2
        for (int v = 0; v < kVectors; ++v) sum[r][v] = hn::MulAdd(x, b[v], sum[r][v]);
      }
#pragma GCC unroll 4
      for (int i = 0; i < kGroups; ++i) ++from[i];
    }
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) total[r][v] = hn::Add(total[r][v], sum[r][v]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) hn::StoreU(total[r][v], d, c + r * p.c_row + v * kLanes);
  }
}

using Kernel = void (*)(const BlockedProduct&, const float*, const float*, float*, ptrdiff_t);

/// For 1, 2, .. rows.
template <int kVectors, int... kRows>
constexpr std::array<Kernel, sizeof...(kRows)> kernels(std::integer_sequence<int, kRows...> /*rows*/) {
  return {multiply_rows<kRows + 1, kVectors>...};
}

void multiply_in_blocks_here(const BlockedProduct& p) {
  static constexpr auto kWide = kernels<2>(std::make_integer_sequence<int, kMostVectors / 2>());
  static constexpr auto kNarrow = kernels<1>(std::make_integer_sequence<int, kMostVectors>());
  if (p.m <= 0) return;
  for (int64_t j = 0; j < p.n; j += kPanel) {
    const bool wide = p.n - j > kLanes;
    const int64_t most = wide ? kMostVectors / 2 : kMostVectors;
    // Nearly equal tiles, rather than whole ones and a small rest: the first `larger` have one row more.
    const int64_t tiles = (p.m + most - 1) / most;
    const int64_t rows = p.m / tiles;
    const int64_t larger = p.m % tiles;
    const Kernel* const kernel = (wide ? kWide.data() : kNarrow.data()) + rows - 1;
    const float* const panel = p.b + j * p.k;
    const float* const next = j + kPanel < p.n ? panel + kPanel * p.k : p.next_b;
    int64_t i = 0;
    for (int64_t t = 0; t < tiles; ++t) {
      const int64_t more = t < larger ? 1 : 0;
      kernel[more](p, p.a + i * p.a_row, panel, p.c + i * p.c_row + j,
                   t == 0 && next != nullptr ? next - panel : 0);
      i += rows + more;
    }
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace nacre::winograd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace nacre::winograd {

HWY_EXPORT(multiply_in_blocks_here);

void multiply_in_blocks(const BlockedProduct& product) {
  HWY_DYNAMIC_DISPATCH(multiply_in_blocks_here)(product);
}

}  // namespace nacre::winograd
#endif  // HWY_ONCE
