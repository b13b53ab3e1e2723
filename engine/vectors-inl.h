// Loops over vectors of floats, compiled once for every instruction set: foreach_target.h flips
// HWY_TARGET_TOGGLE.
#if defined(NACRE_ENGINE_VECTORS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef NACRE_ENGINE_VECTORS_INL_H
#undef NACRE_ENGINE_VECTORS_INL_H
#else
#define NACRE_ENGINE_VECTORS_INL_H
#endif

#include <hwy/highway.h>

#include <array>
#include <cstdint>
#include <cstring>

HWY_BEFORE_NAMESPACE();
namespace nacre {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

using Tag = hn::ScalableTag<float>;
using Vector = hn::Vec<Tag>;
inline constexpr int64_t kLanes = static_cast<int64_t>(hn::MaxLanes(Tag()));
inline constexpr int64_t kCacheLine = 16;  // floats

// Rows of a tile of sums two vectors wide: 32 registers hold 12 x 2, 16 hold 6 x 2; the rest are for what is
// multiplied.
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
inline constexpr int kTileRows = 12;
#else
inline constexpr int kTileRows = 6;
#endif

HWY_INLINE Vector set(float x) {
  return hn::Set(Tag(), x);
}

/// v between two bounds; NaN stays NaN.
template <class V>
HWY_INLINE V clipped(V v, V least, V most) {
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_SSSE3
  // Whose maximum and minimum are their second operand when one is NaN.
  return hn::Min(most, hn::Max(least, v));
#else
  v = hn::IfThenElse(hn::Lt(v, least), least, v);
  return hn::IfThenElse(hn::Gt(v, most), most, v);
#endif
}

/// One whole vector of every array, at the same place.
struct Whole {
  int64_t at;
  HWY_INLINE Vector load(const float* x) const { return hn::LoadU(Tag(), x + at); }
  HWY_INLINE void store(Vector v, float* x) const { hn::StoreU(v, Tag(), x + at); }
  /// v in the lanes that hold elements, `other` in those beyond the arrays' end.
  HWY_INLINE Vector inside(Vector v, Vector /*other*/) const { return v; }
};

/// The last elements of every array, fewer than a vector, with zeros after them: the same instructions work
/// on them. Masks where the instruction set has them, and where they are fast: stores by mask of AVX2 take a
/// hundred cycles on some CPUs.
struct Part {
  int64_t at;
  size_t bytes;
  HWY_INLINE Vector load(const float* x) const {
#if HWY_TARGET <= HWY_AVX2
    return hn::MaskedLoad(hn::FirstN(Tag(), bytes / sizeof(float)), Tag(), x + at);
#else  // whose masked loads read beyond the end
    HWY_ALIGN float some[kLanes] = {};
    std::memcpy(some, x + at, bytes);
    return hn::Load(Tag(), some);
#endif
  }
  HWY_INLINE void store(Vector v, float* x) const {
#if HWY_TARGET <= HWY_AVX3
    hn::BlendedStore(v, hn::FirstN(Tag(), bytes / sizeof(float)), Tag(), x + at);
#else
    HWY_ALIGN float some[kLanes];
    hn::Store(v, Tag(), some);
    std::memcpy(x + at, some, bytes);
#endif
  }
  HWY_INLINE Vector inside(Vector v, Vector other) const {
    return hn::IfThenElse(hn::FirstN(Tag(), bytes / sizeof(float)), v, other);
  }
};

/// body(lanes) for the elements [0, n), a vector at a time; the last may be a Part.
template <typename Body>
HWY_INLINE void for_each_vector(int64_t n, const Body& body) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) body(Whole{i});
  if (i < n) body(Part{i, static_cast<size_t>(n - i) * sizeof(float)});
}

/// Whether pixels of so many channels can be written past the caches: vectors must be whole and lie on lines.
HWY_INLINE bool can_bypass(const float* to, int64_t channels) {
  return reinterpret_cast<uintptr_t>(to) % 64 == 0 && channels % kLanes == 0;
}
/// Stores, past the caches if `bypass`; hwy::FlushStream must follow then, before other threads read.
HWY_INLINE void store_result(const Whole& lanes, Vector v, bool bypass, float* to) {
  bypass ? hn::Stream(v, Tag(), to + lanes.at) : lanes.store(v, to);
}
HWY_INLINE void store_result(const Part& lanes, Vector v, bool /*bypass*/, float* to) {
  lanes.store(v, to);
}

#if HWY_TARGET != HWY_SCALAR
/// Element j of vector i becomes element i of vector j, for as many vectors as they have elements. Taking the
/// even elements of all and then the odd ones moves the lowest bit of an element's number to the top; half of
/// the number's bits are moved.
template <class D>
HWY_INLINE void transpose(D d, hn::Vec<D>* v) {
  hn::Vec<D> next[kLanes];
#pragma GCC unroll 4
  for (int64_t bit = 1; bit < kLanes; bit *= 2) {
#pragma GCC unroll 8
    for (int64_t i = 0; i < kLanes / 2; ++i) {
      next[i] = hn::ConcatEven(d, v[2 * i + 1], v[2 * i]);
      next[kLanes / 2 + i] = hn::ConcatOdd(d, v[2 * i + 1], v[2 * i]);
    }
#pragma GCC unroll 16
    for (int64_t i = 0; i < kLanes; ++i) v[i] = next[i];
  }
}
#endif

/// The elements of v that are in `kept`, without gaps; what is behind them means nothing. D has 32-bit
/// elements.
#if HWY_TARGET == HWY_AVX2
/// For each set of eight elements the numbers of those that are in it, from the lowest four bits on.
inline constexpr std::array<uint32_t, 256> kMembers = [] {
  std::array<uint32_t, 256> all{};
  for (uint32_t set = 0; set < 256; ++set) {
    for (uint32_t bit = 0, at = 0; bit < 8; ++bit) {
      if ((set >> bit & 1) == 0) continue;
      all[set] |= bit << at;
      at += 4;
    }
  }
  return all;
}();

template <class D>
HWY_INLINE hn::Vec<D> compressed(D d, hn::Vec<D> v, hn::Mask<D> kept) {
  // Highway's Compress copies its table for each vector.
  const hn::RebindToUnsigned<D> du;
  const hn::RebindToSigned<D> di;
  uint8_t set[8];
  hn::StoreMaskBits(d, kept, set);
  const auto members = hn::Shr(hn::Set(du, kMembers[set[0]]), hn::ShiftLeft<2>(hn::Iota(du, 0)));
  const auto places = hn::BitCast(di, hn::And(members, hn::Set(du, 7)));
  return hn::TableLookupLanes(v, hn::IndicesFromVec(d, places));
}
#else
template <class D>
HWY_INLINE hn::Vec<D> compressed(D /*d*/, hn::Vec<D> v, hn::Mask<D> kept) {
  return hn::Compress(v, kept);
}
#endif

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace nacre
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
