#include "layers/quad_windows.h"

#include <algorithm>
#include <cstring>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "layers/quad_windows.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
// Highway's ops, for the target that foreach_target.h chose.
#include <hwy/highway.h>

#include "engine/vectors-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nacre::quads {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using nacre::HWY_NAMESPACE::kLanes;
using nacre::HWY_NAMESPACE::Tag;
using nacre::HWY_NAMESPACE::Vector;

/// planes[c][i] = pixels[i][c], the planes `width` floats apart.
void split_channels_here(const float* pixels, int64_t channels, int64_t count, float* planes, int64_t width) {
#if HWY_TARGET != HWY_SCALAR
  const Tag d;
  if (channels <= 4 && count >= kLanes) {
    for (int64_t next = 0; next < count; next += kLanes) {
      const int64_t i = std::min(next, count - kLanes);
      const float* const from = pixels + i * channels;
      Vector v[4];
      if (channels == 1) v[0] = hn::LoadU(d, from);
      if (channels == 2) hn::LoadInterleaved2(d, from, v[0], v[1]);
      if (channels == 3) hn::LoadInterleaved3(d, from, v[0], v[1], v[2]);
      if (channels == 4) hn::LoadInterleaved4(d, from, v[0], v[1], v[2], v[3]);
      for (int64_t c = 0; c < channels; ++c) hn::StoreU(v[c], d, planes + c * width + i);
    }
    return;
  }
#endif
  for (int64_t i = 0; i < count; ++i) {
    for (int64_t c = 0; c < channels; ++c) planes[c * width + i] = pixels[i * channels + c];
  }
}

/// One window, from some column on of four rows.
HWY_INLINE void store_window(const float* const* row, int64_t column, float* to) {
#if HWY_TARGET == HWY_AVX2
  const Tag d;
  const hn::Half<Tag> half;
  hn::StoreU(hn::Combine(d, hn::LoadU(half, row[1] + column), hn::LoadU(half, row[0] + column)), d, to);
  hn::StoreU(hn::Combine(d, hn::LoadU(half, row[3] + column), hn::LoadU(half, row[2] + column)), d,
             to + kLanes);
#else
#pragma GCC unroll 4
  for (int64_t y = 0; y < kSide; ++y) std::memcpy(to + y * kSide, row[y] + column, kSide * sizeof(float));
#endif
}

#if HWY_TARGET <= HWY_AVX3
/// The windows at every second pair of columns of four rows, `step` floats apart.
HWY_INLINE void store_windows(const Vector* row, float* to, int64_t step) {
  const Tag d;
  const auto store_two = [&](Vector even, Vector odd) HWY_ATTR {
    // Rows 0 and 2, and 1 and 3, of two windows.
    hn::StoreU(hn::OddEvenBlocks(hn::SwapAdjacentBlocks(odd), even), d, to);
    hn::StoreU(hn::OddEvenBlocks(odd, hn::SwapAdjacentBlocks(even)), d, to + step);
    to += 2 * step;
  };
  store_two(hn::ConcatLowerLower(d, row[2], row[0]), hn::ConcatLowerLower(d, row[3], row[1]));
  store_two(hn::ConcatUpperUpper(d, row[2], row[0]), hn::ConcatUpperUpper(d, row[3], row[1]));
}
#endif

void make_windows_here(const float* planes, int64_t channels, int64_t count, float* windows) {
  const int64_t width = 2 * count + 2;
  const int64_t step = channels * kWindow;
  for (int64_t c = 0; c < channels; ++c) {
    const float* row[kSide];
    for (int64_t y = 0; y < kSide; ++y) row[y] = planes + (y * channels + c) * width;
    float* const to = windows + c * kWindow;
#if HWY_TARGET <= HWY_AVX3
    constexpr int64_t kTogether = 8;
    for (int64_t next = 0; count >= kTogether && next < count; next += kTogether) {
      const int64_t i = std::min(next, count - kTogether);
      for (int64_t odd = 0; odd < 2; ++odd) {
        Vector four[kSide];
#pragma GCC unroll 4
        for (int64_t y = 0; y < kSide; ++y) four[y] = hn::LoadU(Tag(), row[y] + 2 * (i + odd));
        store_windows(four, to + (i + odd) * step, 2 * step);
      }
    }
    if (count >= kTogether) continue;
#endif
    for (int64_t i = 0; i < count; ++i) store_window(row, 2 * i, to + i * step);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace nacre::quads
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace nacre::quads {

HWY_EXPORT(split_channels_here);
HWY_EXPORT(make_windows_here);

void copy_planes(const ConvGeometry& g, const float* image, int64_t first, int64_t rows, int64_t width,
                 float* planes) {
  const WindowAxis& x = g.window.x;
  const int64_t left = std::min(width, x.before);
  const int64_t inside = std::min(width - left, x.in);
  for (int64_t y = first; y < first + rows; ++y, planes += g.channels * width) {
    if (y < 0 || y >= g.window.y.in) {
      std::fill(planes, planes + g.channels * width, 0.0F);
      continue;
    }
    for (int64_t c = 0; c < g.channels; ++c) {
      float* const row = planes + c * width;
      std::fill(row, row + left, 0.0F);
      std::fill(row + left + inside, row + width, 0.0F);
    }
    HWY_DYNAMIC_DISPATCH(split_channels_here)
    (image + y * x.in * g.channels, g.channels, inside, planes + left, width);
  }
}

void make_windows(const float* planes, int64_t channels, int64_t count, float* windows) {
  HWY_DYNAMIC_DISPATCH(make_windows_here)(planes, channels, count, windows);
}

}  // namespace nacre::quads
#endif  // HWY_ONCE
