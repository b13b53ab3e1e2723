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

HWY_BEFORE_NAMESPACE();
namespace nacre::gemm {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

/// The first `count` floats at `from`, fewer than a vector, and zeros.
template <class D>
HWY_INLINE hn::Vec<D> load_some(D d, const float* from, int64_t count) {
#if HWY_TARGET <= HWY_AVX2
  return hn::MaskedLoad(hn::FirstN(d, static_cast<size_t>(count)), d, from);
#else
  HWY_ALIGN float some[hn::MaxLanes(D())] = {};
  std::memcpy(some, from, static_cast<size_t>(count) * sizeof(float));
  return hn::Load(d, some);
#endif
}

/// to[k][r] = from[r][k] for r < kWidth; rows from `valid` on repeat the last one.
template <int kWidth>
void pack_rows(const float* from, int64_t ld, int64_t valid, int64_t depth, float* HWY_RESTRICT to) {
  const auto row = [&](int64_t r) { return from + std::min(r, valid - 1) * ld; };
  int64_t done = 0;
#if HWY_TARGET != HWY_SCALAR
  const hn::FixedTag<float, 4> d;
  const hn::FixedTag<double, 2> dd;
  const int64_t whole = depth / 4 * 4;
  for (int64_t group = 0; group < kWidth; group += 4) {
    // The last group of a width that is not a multiple of 4 overlaps the one before.
    const int64_t r = std::min<int64_t>(group, kWidth - 4);
    const float* const row0 = row(r);
    const float* const row1 = row(r + 1);
    const float* const row2 = row(r + 2);
    const float* const row3 = row(r + 3);
    for (int64_t k = 0; k < whole; k += 4) {
      const auto v0 = hn::LoadU(d, row0 + k);
      const auto v1 = hn::LoadU(d, row1 + k);
      const auto v2 = hn::LoadU(d, row2 + k);
      const auto v3 = hn::LoadU(d, row3 + k);
      const auto low01 = hn::BitCast(dd, hn::InterleaveLower(d, v0, v1));
      const auto low23 = hn::BitCast(dd, hn::InterleaveLower(d, v2, v3));
      const auto high01 = hn::BitCast(dd, hn::InterleaveUpper(d, v0, v1));
      const auto high23 = hn::BitCast(dd, hn::InterleaveUpper(d, v2, v3));
      float* out = to + k * kWidth + r;
      hn::StoreU(hn::BitCast(d, hn::InterleaveLower(dd, low01, low23)), d, out);
      hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(dd, low01, low23)), d, out + kWidth);
      hn::StoreU(hn::BitCast(d, hn::InterleaveLower(dd, high01, high23)), d, out + 2 * kWidth);
      hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(dd, high01, high23)), d, out + 3 * kWidth);
    }
  }
  done = whole;
#endif
  for (int64_t r = 0; r < kWidth; ++r) {
    const float* const in = row(r);
    for (int64_t k = done; k < depth; ++k) to[k * kWidth + r] = in[k];
  }
}

/// Panels [ceil(count / kWidth)][depth][kWidth], `panel_stride` floats apart, of from[depth][count]; the last
/// is filled up with zeros.
template <int kWidth>
void pack_columns(const float* from, int64_t ld, int64_t count, int64_t depth, float* HWY_RESTRICT to,
                  int64_t panel_stride) {
  const int64_t whole = count / kWidth;
  const int64_t rest = count - whole * kWidth;
  for (int64_t k = 0; k < depth; ++k) {
    const float* in = from + k * ld;
    float* out = to + k * kWidth;
    for (int64_t panel = 0; panel < whole; ++panel) {
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
