// Packing for gemm_kernel.cc, compiled once for every instruction set: foreach_target.h flips
// HWY_TARGET_TOGGLE.
#if defined(NACRE_ENGINE_GEMM_PACK_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef NACRE_ENGINE_GEMM_PACK_INL_H
#undef NACRE_ENGINE_GEMM_PACK_INL_H
#else
#define NACRE_ENGINE_GEMM_PACK_INL_H
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "engine/vectors-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nacre::gemm {
namespace HWY_NAMESPACE {
namespace {

using nacre::HWY_NAMESPACE::kLanes;

namespace hn = hwy::HWY_NAMESPACE;

/// to[k][r] = from[r][k] for r < kWidth; rows from `valid` on repeat the last one. Blocks of a vector's
/// square are transposed in registers: so each line of memory is read and written once.
template <int kWidth>
void pack_rows(const float* from, int64_t ld, int64_t valid, int64_t depth, float* HWY_RESTRICT to) {
  const auto row = [&](int64_t r) { return from + std::min(r, valid - 1) * ld; };
  if (depth < kLanes || kLanes == 1) {
    for (int64_t r = 0; r < kWidth; ++r) {
      const float* const in = row(r);
      for (int64_t k = 0; k < depth; ++k) to[k * kWidth + r] = in[k];
    }
    return;
  }
#if HWY_TARGET != HWY_SCALAR
  const hn::ScalableTag<float> d;
  for (int64_t next = 0; next < depth; next += kLanes) {
    // The last block of a depth that is not a multiple overlaps the one before, as that of a width does.
    const int64_t k = std::min(next, depth - kLanes);
    for (int64_t group = 0; group < kWidth; group += kLanes) {
      const int64_t r = std::max<int64_t>(0, std::min<int64_t>(group, kWidth - kLanes));
      hn::Vec<decltype(d)> v[kLanes];
#pragma GCC unroll 16
      for (int64_t i = 0; i < kLanes; ++i) v[i] = hn::LoadU(d, row(r + i) + k);
      nacre::HWY_NAMESPACE::transpose(d, v);
      float* const out = to + k * kWidth + r;
      constexpr bool kNarrow = kWidth < kLanes;
      // What a vector writes beyond a narrow panel's line is written over by the next, but by the last.
#pragma GCC unroll 16
      for (int64_t i = 0; i < kLanes - (kNarrow ? 1 : 0); ++i) hn::StoreU(v[i], d, out + i * kWidth);
      if (kNarrow) {
        HWY_ALIGN float last[kLanes];
        hn::Store(v[kLanes - 1], d, last);
        std::memcpy(out + (kLanes - 1) * kWidth, last, kWidth * sizeof(float));
      }
    }
  }
#endif
}

/// Panels [ceil(count / kWidth)][depth][kWidth], `panel_stride` floats apart, of from[depth][count]; the last
/// is filled up with zeros.
template <int kWidth>
void pack_columns(const float* from, int64_t ld, int64_t count, int64_t depth, float* HWY_RESTRICT to,
                  int64_t panel_stride) {
  constexpr int64_t kRowsAhead = 8;
  const int64_t whole = count / kWidth;
  const int64_t rest = count - whole * kWidth;
  for (int64_t k = 0; k < depth; ++k) {
    const float* in = from + k * ld;
    float* out = to + k * kWidth;
    for (int64_t panel = 0; panel < whole; ++panel) {
      // Memory that is far away arrives faster when several rows are asked for.
      for (int64_t i = 0; i < kWidth; i += 16) __builtin_prefetch(in + kRowsAhead * ld + i);
      std::memcpy(out, in, kWidth * sizeof(float));
      in += kWidth;
      out += panel_stride;
    }
    if (rest > 0) {
      std::memcpy(out, in, static_cast<size_t>(rest) * sizeof(float));
      std::memset(out + rest, 0, static_cast<size_t>(kWidth - rest) * sizeof(float));
    }
  }
}

template <int kWidth>
void pack_panels(const float* from, int64_t ld, bool by_rows, int64_t count, int64_t depth, float* to,
                 int64_t panel_stride) {
  if (!by_rows) return pack_columns<kWidth>(from, ld, count, depth, to, panel_stride);
  for (int64_t i = 0; i < count; i += kWidth, to += panel_stride) {
    pack_rows<kWidth>(from + i * ld, ld, std::min<int64_t>(kWidth, count - i), depth, to);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace nacre::gemm
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
