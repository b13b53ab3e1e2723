#include "layers/batch_norm_kernels.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "layers/batch_norm_kernels.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
// Highway's ops, for the target that foreach_target.h chose.
#include <hwy/highway.h>

#include "engine/vectors-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nacre {
namespace HWY_NAMESPACE {
namespace {

using HalfTag = hn::Half<Tag>;
using DoubleTag = hn::Rebind<double, HalfTag>;
using Doubles = hn::Vec<DoubleTag>;
inline constexpr int64_t kHalf = static_cast<int64_t>(hn::MaxLanes(DoubleTag()));

/// A vector of floats as doubles.
struct Pair {
  Doubles lower = hn::Zero(DoubleTag());
  Doubles upper = hn::Zero(DoubleTag());

  Pair() = default;
  explicit HWY_INLINE Pair(Vector v) : lower(hn::PromoteTo(DoubleTag(), hn::LowerHalf(HalfTag(), v))) {
#if HWY_TARGET != HWY_SCALAR  // where a vector is one element
    upper = hn::PromoteTo(DoubleTag(), hn::UpperHalf(HalfTag(), v));
#endif
  }

  HWY_INLINE void add(const Pair& other) {
    lower = hn::Add(lower, other.lower);
    upper = hn::Add(upper, other.upper);
  }
  HWY_INLINE void subtract(const Pair& other) {
    lower = hn::Sub(lower, other.lower);
    upper = hn::Sub(upper, other.upper);
  }
  HWY_INLINE void add_square(const Pair& other) {
    lower = hn::MulAdd(other.lower, other.lower, lower);
    upper = hn::MulAdd(other.upper, other.upper, upper);
  }
  /// Each divided by `count`, as floats.
  [[nodiscard]] HWY_INLINE Vector mean(double count) const {
    const Doubles divisor = hn::Set(DoubleTag(), count);
    const auto low = hn::DemoteTo(HalfTag(), hn::Div(lower, divisor));
#if HWY_TARGET == HWY_SCALAR
    return low;
#else
    return hn::Combine(Tag(), hn::DemoteTo(HalfTag(), hn::Div(upper, divisor)), low);
#endif
  }
  /// The first `count` of them.
  HWY_INLINE void store(double* to, int64_t count) const {
    HWY_ALIGN double all[2 * kHalf];
    hn::Store(lower, DoubleTag(), all);
    hn::Store(upper, DoubleTag(), all + kHalf);
    std::copy_n(all, count, to);
  }
};

HWY_INLINE int64_t lanes_of(const Whole& /*lanes*/) {
  return kLanes;
}
HWY_INLINE int64_t lanes_of(const Part& lanes) {
  return static_cast<int64_t>(lanes.bytes / sizeof(float));
}

void batch_moments_here(int64_t positions, int64_t channels, const float* x, double* mean, double* squares) {
  const auto count = static_cast<double>(positions);
  for_each_vector(channels, [&](const auto& lanes) HWY_ATTR {
    // Deviations from the first position's: what is common to all does not cancel in the squares.
    const Pair first(lanes.load(x));
    Pair sum;
    Pair square;
    const float* at = x;
    for (int64_t p = 0; p < positions; ++p, at += channels) {
      Pair deviation(lanes.load(at));
      deviation.subtract(first);
      sum.add(deviation);
      square.add_square(deviation);
    }
    sum.store(mean + lanes.at, lanes_of(lanes));
    square.store(squares + lanes.at, lanes_of(lanes));
  });
  for (int64_t c = 0; c < channels; ++c) {
    squares[c] -= mean[c] * mean[c] / count;
    // Rounding may leave less than nothing; NaN stays.
    if (squares[c] < 0) squares[c] = 0;
    mean[c] = static_cast<double>(x[c]) + mean[c] / count;
  }
}

void channel_means_here(int64_t positions, int64_t channels, const float* x, float* y) {
  for_each_vector(channels, [&](const auto& lanes) HWY_ATTR {
    Pair sum;
    for (int64_t p = 0; p < positions; ++p) sum.add(Pair(lanes.load(x + p * channels)));
    lanes.store(sum.mean(static_cast<double>(positions)), y);
  });
}

template <Clip clip>
HWY_INLINE Vector clipped(Vector v) {
  if constexpr (clip != Clip::kNone) v = hn::IfThenElse(hn::Lt(v, set(0)), set(0), v);
  if constexpr (clip == Clip::kRelu6) v = hn::IfThenElse(hn::Gt(v, set(6)), set(6), v);
  return v;
}

/// The gradient dy where x * scale + shift is not clipped.
template <Clip clip, typename Lanes>
HWY_INLINE Vector passed(const Lanes& lanes, const ChannelMaps<float>& maps, Vector x, Vector dy) {
  if constexpr (clip == Clip::kNone) return dy;
  const Vector y = hn::MulAdd(x, lanes.load(maps.scale), lanes.load(maps.shift));
  auto inside = hn::Gt(y, set(0));
  if constexpr (clip == Clip::kRelu6) inside = hn::And(inside, hn::Lt(y, set(6)));
  return hn::IfThenElseZero(inside, dy);
}

template <Clip clip>
void map_channels_of(const ChannelMaps<float>& maps, int64_t positions, const float* x, float* y) {
  for (int64_t p = 0; p < positions; ++p, x += maps.channels, y += maps.channels) {
    for_each_vector(maps.channels, [&](const auto& lanes) HWY_ATTR {
      const Vector v = hn::MulAdd(lanes.load(x), lanes.load(maps.scale), lanes.load(maps.shift));
      lanes.store(clipped<clip>(v), y);
    });
  }
}

// Positions whose gradients are added in single, where a product is rounded as much: what is converted is
// few.
constexpr int64_t kTogether = 4;

template <Clip clip>
void sum_gradients_of(const ChannelMaps<float>& maps, int64_t positions, const float* x, const float* dy,
                      const float* inverse, const float* offset, double* plain, double* weighted) {
  for_each_vector(maps.channels, [&](const auto& lanes) HWY_ATTR {
    const Vector factor = lanes.load(inverse);
    const Vector term = lanes.load(offset);
    Pair sum;
    Pair products;
    int64_t p = 0;
    for (; p + kTogether <= positions; p += kTogether) {
      Vector some = set(0);
      Vector weighed = set(0);
#pragma GCC unroll 4
      for (int64_t i = 0; i < kTogether; ++i) {
        const int64_t at = (p + i) * maps.channels;
        const Vector value = lanes.load(x + at);
        const Vector gradient = passed<clip>(lanes, maps, value, lanes.load(dy + at));
        some = hn::Add(some, gradient);
        weighed = hn::MulAdd(gradient, hn::MulAdd(value, factor, term), weighed);
      }
      sum.add(Pair(some));
      products.add(Pair(weighed));
    }
    for (; p < positions; ++p) {
      const int64_t at = p * maps.channels;
      const Vector value = lanes.load(x + at);
      const Vector gradient = passed<clip>(lanes, maps, value, lanes.load(dy + at));
      sum.add(Pair(gradient));
      products.add(Pair(hn::Mul(gradient, hn::MulAdd(value, factor, term))));
    }
    sum.store(plain + lanes.at, lanes_of(lanes));
    products.store(weighted + lanes.at, lanes_of(lanes));
  });
}

template <Clip clip>
void map_gradients_of(const ChannelMaps<float>& maps, int64_t positions, const float* x, const float* dy,
                      const float* a, const float* b, const float* d, float* dx) {
  for (int64_t p = 0; p < positions; ++p, x += maps.channels, dy += maps.channels, dx += maps.channels) {
    for_each_vector(maps.channels, [&](const auto& lanes) HWY_ATTR {
      const Vector value = lanes.load(x);
      const Vector gradient = passed<clip>(lanes, maps, value, lanes.load(dy));
      const Vector rest = hn::MulAdd(lanes.load(b), value, lanes.load(d));
      lanes.store(hn::MulAdd(lanes.load(a), gradient, rest), dx);
    });
  }
}

void map_channels_here(const ChannelMaps<float>& maps, int64_t positions, const float* x, float* y) {
  switch (maps.clip) {
    case Clip::kNone:
      return map_channels_of<Clip::kNone>(maps, positions, x, y);
    case Clip::kRelu:
      return map_channels_of<Clip::kRelu>(maps, positions, x, y);
    case Clip::kRelu6:
      return map_channels_of<Clip::kRelu6>(maps, positions, x, y);
  }
}

void sum_gradients_here(const ChannelMaps<float>& maps, int64_t positions, const float* x, const float* dy,
                        const float* inverse, const float* offset, double* plain, double* weighted) {
  const auto sum = [&](auto of) { of(maps, positions, x, dy, inverse, offset, plain, weighted); };
  switch (maps.clip) {
    case Clip::kNone:
      return sum(sum_gradients_of<Clip::kNone>);
    case Clip::kRelu:
      return sum(sum_gradients_of<Clip::kRelu>);
    case Clip::kRelu6:
      return sum(sum_gradients_of<Clip::kRelu6>);
  }
}

void map_gradients_here(const ChannelMaps<float>& maps, int64_t positions, const float* x, const float* dy,
                        const float* a, const float* b, const float* d, float* dx) {
  const auto map = [&](auto of) { of(maps, positions, x, dy, a, b, d, dx); };
  switch (maps.clip) {
    case Clip::kNone:
      return map(map_gradients_of<Clip::kNone>);
    case Clip::kRelu:
      return map(map_gradients_of<Clip::kRelu>);
    case Clip::kRelu6:
      return map(map_gradients_of<Clip::kRelu6>);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace nacre
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace nacre {

HWY_EXPORT(batch_moments_here);
HWY_EXPORT(channel_means_here);
HWY_EXPORT(map_channels_here);
HWY_EXPORT(sum_gradients_here);
HWY_EXPORT(map_gradients_here);

void batch_moments(int64_t positions, int64_t channels, const float* x, double* mean, double* squares) {
  HWY_DYNAMIC_DISPATCH(batch_moments_here)(positions, channels, x, mean, squares);
}

void channel_means(int64_t positions, int64_t channels, const float* x, float* y) {
  HWY_DYNAMIC_DISPATCH(channel_means_here)(positions, channels, x, y);
}

void map_channels(const ChannelMaps<float>& maps, int64_t positions, const float* x, float* y) {
  HWY_DYNAMIC_DISPATCH(map_channels_here)(maps, positions, x, y);
}

void sum_gradients(const ChannelMaps<float>& maps, int64_t positions, const float* x, const float* dy,
                   const float* inverse, const float* offset, double* plain, double* weighted) {
  HWY_DYNAMIC_DISPATCH(sum_gradients_here)(maps, positions, x, dy, inverse, offset, plain, weighted);
}

void map_gradients(const ChannelMaps<float>& maps, int64_t positions, const float* x, const float* dy,
                   const float* a, const float* b, const float* d, float* dx) {
  HWY_DYNAMIC_DISPATCH(map_gradients_here)(maps, positions, x, dy, a, b, d, dx);
}

}  // namespace nacre
#endif  // HWY_ONCE
