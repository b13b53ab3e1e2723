// The changes of colour in train/augment.h, by vectors of pixels. Sums and products are never fused, and the
// mean is summed in lanes of a fixed number: the bits are the same on every instruction set.
#include <algorithm>
#include <array>
#include <cstring>

#include "train/augment.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "train/colour.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
// Highway's ops, for the target that foreach_target.h chose.
#include <hwy/highway.h>

#include "engine/vectors-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nacre {
namespace HWY_NAMESPACE {
namespace {

constexpr int64_t kRgb = 3;

/// body(r, g, b) changes vectors of pixels; those beyond the last are zeros.
template <typename Body>
HWY_INLINE void for_each_colour(float* image, int64_t pixels, const Body& body) {
  const Tag d;
  const auto change = [&](float* some) HWY_ATTR {
    Vector r;
    Vector g;
    Vector b;
    hn::LoadInterleaved3(d, some, r, g, b);
    body(r, g, b);
    hn::StoreInterleaved3(r, g, b, d, some);
  };
  for (; pixels >= kLanes; pixels -= kLanes, image += kRgb * kLanes) change(image);
  if (pixels == 0) return;
  HWY_ALIGN float rest[kRgb * kLanes] = {};
  const auto bytes = static_cast<size_t>(kRgb * pixels) * sizeof(float);
  std::memcpy(rest, image, bytes);
  change(rest);
  std::memcpy(image, rest, bytes);
}

HWY_INLINE Vector clamp_to_one(Vector v) {
  return hn::Min(hn::Max(v, set(0)), set(1));
}

void adjust_brightness_here(float* image, int64_t count, float delta) {
  for_each_vector(
      count, [&](const auto& lanes) HWY_ATTR { lanes.store(hn::Add(lanes.load(image), set(delta)), image); });
}

/// A channel of colours whose hue in sextants is h, by its own place on the circle.
HWY_INLINE Vector hue_channel(float offset, Vector h, Vector mx, Vector c) {
  const Vector six = set(6);
  const Vector sum = hn::Add(set(offset), h);
  const Vector k = hn::IfThenElse(hn::Ge(sum, six), hn::Sub(sum, six), sum);
  return hn::Sub(mx, hn::Mul(c, clamp_to_one(hn::Min(k, hn::Sub(set(4), k)))));
}

void adjust_hue_here(float* image, int64_t pixels, float delta) {
  const Vector turn = set(6.0F * delta);
  const Vector zero = set(0);
  const Vector six = set(6);
  for_each_colour(image, pixels, [&](Vector& r, Vector& g, Vector& b) HWY_ATTR {
    const Vector mx = hn::Max(hn::Max(r, g), b);
    const Vector c = hn::Sub(mx, hn::Min(hn::Min(r, g), b));
    const auto red = hn::Eq(r, mx);
    const auto green = hn::Eq(g, mx);
    const Vector top =
        hn::IfThenElse(red, hn::Sub(g, b), hn::IfThenElse(green, hn::Sub(b, r), hn::Sub(r, g)));
    const Vector base = hn::IfThenElse(red, zero, hn::IfThenElse(green, set(2), set(4)));
    const Vector safe = hn::IfThenElse(hn::Gt(c, zero), c, set(1));
    // In [-1, 5]; turned by at most 6 either way.
    Vector h = hn::Add(hn::Add(hn::Div(top, safe), base), turn);
    h = hn::IfThenElse(hn::Lt(h, zero), hn::Add(h, six), h);
    h = hn::IfThenElse(hn::Lt(h, zero), hn::Add(h, six), h);
    h = hn::IfThenElse(hn::Ge(h, six), hn::Sub(h, six), h);
    r = hue_channel(5, h, mx, c);
    g = hue_channel(3, h, mx, c);
    b = hue_channel(1, h, mx, c);
  });
}

void adjust_saturation_here(float* image, int64_t pixels, float factor) {
  const Vector zero = set(0);
  const Vector one = set(1);
  for_each_colour(image, pixels, [&](Vector& r, Vector& g, Vector& b) HWY_ATTR {
    const Vector v = hn::Max(hn::Max(r, g), b);
    const Vector mn = hn::Min(hn::Min(r, g), b);
    const auto bright = hn::Gt(v, zero);
    const Vector s = hn::IfThenElseZero(bright, hn::Div(hn::Sub(v, mn), hn::IfThenElse(bright, v, one)));
    const auto coloured = hn::Gt(s, zero);
    const Vector changed = clamp_to_one(hn::Mul(s, set(factor)));
    const Vector ratio = hn::IfThenElseZero(coloured, hn::Div(changed, hn::IfThenElse(coloured, s, one)));
    r = hn::Sub(v, hn::Mul(hn::Sub(v, r), ratio));
    g = hn::Sub(v, hn::Mul(hn::Sub(v, g), ratio));
    b = hn::Sub(v, hn::Mul(hn::Sub(v, b), ratio));
  });
}

/// The means of 1 or 3 channels: a number of lanes that holds either a whole number of times.
constexpr int64_t kSums = 24;

void channel_means(const float* image, int64_t pixels, int64_t channels, std::array<float, kRgb>& means) {
  const hn::ScalableTag<double> d;
  const hn::Rebind<float, decltype(d)> half;
  constexpr auto kDoubles = static_cast<int64_t>(hn::MaxLanes(d));
  constexpr int64_t kVectors = kSums / kDoubles;
  static_assert(kVectors * kDoubles == kSums);
  hn::Vec<decltype(d)> sum[kVectors];
  for (auto& each : sum) each = hn::Zero(d);
  const int64_t count = pixels * channels;
  int64_t i = 0;
  for (; i + kSums <= count; i += kSums) {
#pragma GCC unroll 12
    for (int64_t v = 0; v < kVectors; ++v)
      sum[v] = hn::Add(sum[v], hn::PromoteTo(d, hn::LoadU(half, image + i + v * kDoubles)));
  }
  HWY_ALIGN double sums[kSums];
  for (int64_t v = 0; v < kVectors; ++v) hn::Store(sum[v], d, sums + v * kDoubles);
  for (int64_t k = 0; i < count; ++i, ++k) sums[k] += static_cast<double>(image[i]);
  for (int64_t k = channels; k < kSums; ++k) sums[k % channels] += sums[k];
  for (int64_t c = 0; c < channels; ++c)
    means[static_cast<size_t>(c)] = static_cast<float>(sums[c] / static_cast<double>(pixels));
}

void adjust_contrast_here(float* image, int64_t pixels, int64_t channels, float factor) {
  std::array<float, kRgb> means{};
  channel_means(image, pixels, channels, means);
  const auto adjust = [&](Vector x, Vector mean)
                          HWY_ATTR { return hn::Add(hn::Mul(hn::Sub(x, mean), set(factor)), mean); };
  if (channels == kRgb) {
    return for_each_colour(image, pixels, [&](Vector& r, Vector& g, Vector& b) HWY_ATTR {
      r = adjust(r, set(means[0]));
      g = adjust(g, set(means[1]));
      b = adjust(b, set(means[2]));
    });
  }
  for_each_vector(pixels, [&](const auto& lanes)
                              HWY_ATTR { lanes.store(adjust(lanes.load(image), set(means[0])), image); });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace nacre
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace nacre {
namespace {

HWY_EXPORT(adjust_brightness_here);
HWY_EXPORT(adjust_contrast_here);
HWY_EXPORT(adjust_hue_here);
HWY_EXPORT(adjust_saturation_here);

}  // namespace

void adjust_brightness(float* image, int64_t count, float delta) {
  HWY_DYNAMIC_DISPATCH(adjust_brightness_here)(image, count, delta);
}

void adjust_contrast(float* image, int64_t pixels, int64_t channels, float factor) {
  HWY_DYNAMIC_DISPATCH(adjust_contrast_here)(image, pixels, channels, factor);
}

void adjust_hue(float* image, int64_t pixels, float delta) {
  HWY_DYNAMIC_DISPATCH(adjust_hue_here)(image, pixels, delta);
}

void adjust_saturation(float* image, int64_t pixels, float factor) {
  HWY_DYNAMIC_DISPATCH(adjust_saturation_here)(image, pixels, factor);
}

}  // namespace nacre
#endif  // HWY_ONCE
