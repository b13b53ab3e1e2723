// The tile of gemm_kernel.cc that stays in registers, compiled once for every instruction set:
// foreach_target.h flips HWY_TARGET_TOGGLE.
#if defined(NACRE_ENGINE_GEMM_TILE_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef NACRE_ENGINE_GEMM_TILE_INL_H
#undef NACRE_ENGINE_GEMM_TILE_INL_H
#else
#define NACRE_ENGINE_GEMM_TILE_INL_H
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cstdint>

#include "engine/gemm_blocking.h"

HWY_BEFORE_NAMESPACE();
namespace nacre::gemm {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

using Tag = hn::ScalableTag<float>;
using Vector = hn::Vec<Tag>;

// 32 registers hold a tile of 12 x 2 vectors, 16 one of 6 x 2; the rest are for B and A.
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
constexpr int kTileRows = 12;
#else
constexpr int kTileRows = 6;
#endif
constexpr int kLanes = static_cast<int>(hn::MaxLanes(Tag()));
constexpr int kTileColumns = 2 * kLanes;
static_assert(kBlockRows % kTileRows == 0 && kTileRows <= kMaxTileRows);
static_assert(kBlockColumns % kTileColumns == 0 && kMaxTileColumns % kTileColumns == 0);

/// What happens to the sums of a tile.
struct Finish {
  float* c;
  int64_t ldc;
  bool add_c;         ///< the sums are added to C
  const float* bias;  ///< [tile columns] to add, or null
  bool relu;
};

HWY_INLINE Vector relu(Vector v) {
  const Vector zero = hn::Zero(Tag());
  return hn::IfThenElse(hn::Lt(v, zero), zero, v);
}

HWY_INLINE Vector finish_vector(Vector sum, const float* c, bool add_c, const float* bias, bool clip) {
  const Tag d;
  if (add_c) sum = hn::Add(hn::LoadU(d, c), sum);
  if (bias != nullptr) sum = hn::Add(sum, hn::LoadU(d, bias));
  return clip ? relu(sum) : sum;
}

/// How the elements of A for one tile lie in memory.
enum class LayoutA {
  kByColumns,  ///< (r, k) at k * ld + r: packed (ld = kTileRows), or a transposed A in place
  kByRows,     ///< (r, k) at min(r, rows - 1) * ld + k: A in place
};

/// What is left of GemmArgs::soon.
struct Soon {
  const float* data[2];
  int64_t floats;

  void advance(int64_t count) {
    data[0] += count;
    data[1] += count;
    floats -= count;
  }
};
constexpr int64_t kCacheLine = 16;  // floats

/// The sums of one tile of `kRows` rows and `kVectors` vectors over `depth`. B is a panel,
/// [depth][kTileColumns]. With kFetch, a line of each place of `soon` for every step of depth.
template <int kRows, int kVectors, LayoutA kLayout, bool kFetch = false>
HWY_INLINE void multiply_tile(int64_t depth, const float* HWY_RESTRICT a, int64_t ld, int64_t rows,
                              const float* HWY_RESTRICT b, const Finish& finish, const Soon& soon = {}) {
  const Tag d;
  Vector sum[kRows][kVectors];
  const float* row[kRows];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    row[r] = kLayout == LayoutA::kByRows ? a + std::min<int64_t>(r, rows - 1) * ld : nullptr;
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) sum[r][v] = hn::Zero(d);
  }
#pragma GCC unroll 2
  for (int64_t k = 0; k < depth; ++k) {
    Vector panel[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) panel[v] = hn::Load(d, b + k * kTileColumns + v * kLanes);
    if (kFetch) {
      // Into the second-level cache: the first is the product's.
      __builtin_prefetch(soon.data[0] + k * kCacheLine, 0, 2);
      __builtin_prefetch(soon.data[1] + k * kCacheLine, 0, 2);
    }
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const Vector factor = hn::Set(d, kLayout == LayoutA::kByRows ? row[r][k] : a[k * ld + r]);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sum[r][v] = hn::MulAdd(factor, panel[v], sum[r][v]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      float* c = finish.c + r * finish.ldc + v * kLanes;
      const float* bias = finish.bias == nullptr ? nullptr : finish.bias + v * kLanes;
      hn::StoreU(finish_vector(sum[r][v], c, finish.add_c, bias, finish.relu), d, c);
    }
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace nacre::gemm
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
