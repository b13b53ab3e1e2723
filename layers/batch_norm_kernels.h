#pragma once

#include <algorithm>
#include <cstdint>

#include "layers/depthwise_kernels.h"

namespace nacre {

/// The sweeps of BatchNorm over positions [P, channels], and of a clipping activation behind it that shares
/// them. Sums are in double, position by position; of gradients a few positions' sum is in single. Dispatched
/// at run time as in engine/gemm.h; a channel's bits depend on its own numbers only.

/// Each channel as y = clip(x * scale + shift).
template <typename T>
struct ChannelMaps {
  int64_t channels = 0;
  const T* scale = nullptr;
  const T* shift = nullptr;
  Clip clip = Clip::kNone;

  [[nodiscard]] T value(int64_t c, T x) const {
    // NaN compares false, and stays.
    const T y = x * scale[c] + shift[c];
    if (clip != Clip::kNone && y < T{0}) return T{0};
    return clip == Clip::kRelu6 && y > T{6} ? T{6} : y;
  }
  /// The gradient dy where x was not clipped, else 0.
  [[nodiscard]] T passed(int64_t c, T x, T dy) const {
    if (clip == Clip::kNone) return dy;
    const T y = value(c, x);
    return y > T{0} && (clip == Clip::kRelu || y < T{6}) ? dy : T{0};
  }
};

/// mean [channels], and squares: the sum of the squared deviations from it.
void batch_moments(int64_t positions, int64_t channels, const float* x, double* mean, double* squares);

/// y [channels] = the mean of each channel.
void channel_means(int64_t positions, int64_t channels, const float* x, float* y);

/// y = clip(x * scale + shift).
void map_channels(const ChannelMaps<float>& maps, int64_t positions, const float* x, float* y);

/// plain = sum of g, weighted = sum of g * (x * inverse + offset), with g = maps.passed(x, dy).
void sum_gradients(const ChannelMaps<float>& maps, int64_t positions, const float* x, const float* dy,
                   const float* inverse, const float* offset, double* plain, double* weighted);

/// dx = a * g + b * x + d, with the same g.
void map_gradients(const ChannelMaps<float>& maps, int64_t positions, const float* x, const float* dy,
                   const float* a, const float* b, const float* d, float* dx);

/// The readable forms.
struct BatchNormReference {
  template <typename T>
  static void batch_moments(int64_t positions, int64_t channels, const T* x, double* mean, double* squares) {
    std::fill_n(mean, channels, 0.0);
    std::fill_n(squares, channels, 0.0);
    for (int64_t i = 0; i < positions * channels; ++i) mean[i % channels] += static_cast<double>(x[i]);
    for (int64_t c = 0; c < channels; ++c) mean[c] /= static_cast<double>(positions);
    for (int64_t i = 0; i < positions * channels; ++i) {
      const double deviation = static_cast<double>(x[i]) - mean[i % channels];
      squares[i % channels] += deviation * deviation;
    }
  }
  template <typename T>
  static void map_channels(const ChannelMaps<T>& maps, int64_t positions, const T* x, T* y) {
    for (int64_t i = 0; i < positions * maps.channels; ++i) y[i] = maps.value(i % maps.channels, x[i]);
  }
  template <typename T>
  static void sum_gradients(const ChannelMaps<T>& maps, int64_t positions, const T* x, const T* dy,
                            const T* inverse, const T* offset, double* plain, double* weighted) {
    std::fill_n(plain, maps.channels, 0.0);
    std::fill_n(weighted, maps.channels, 0.0);
    for (int64_t i = 0; i < positions * maps.channels; ++i) {
      const int64_t c = i % maps.channels;
      const T g = maps.passed(c, x[i], dy[i]);
      plain[c] += static_cast<double>(g);
      weighted[c] += static_cast<double>(g * (x[i] * inverse[c] + offset[c]));
    }
  }
  template <typename T>
  static void map_gradients(const ChannelMaps<T>& maps, int64_t positions, const T* x, const T* dy,
                            const T* a, const T* b, const T* d, T* dx) {
    for (int64_t i = 0; i < positions * maps.channels; ++i) {
      const int64_t c = i % maps.channels;
      dx[i] = a[c] * maps.passed(c, x[i], dy[i]) + (b[c] * x[i] + d[c]);
    }
  }
};

}  // namespace nacre
