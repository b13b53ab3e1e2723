#pragma once

#include <algorithm>
#include <cstdint>

#include "layers/window.h"

namespace nacre {

/// A max pooling fused behind a convolution: images [H, W, channels] to [H', W', channels], windows that do
/// not overlap.
struct FusedPool : ChannelWindow {
  bool relu = false;  ///< inputs went through relu

  /// Whether every window is 2 x 2 positions inside the input, one beside the other: then a kernel that has
  /// those in registers pools them there.
  [[nodiscard]] bool of_pairs() const {
    const auto pairs = [](const WindowAxis& axis) {
      return axis.window == 2 && axis.stride == 2 && axis.before == 0 && 2 * axis.out <= axis.in;
    };
    return pairs(window.y) && pairs(window.x);
  }

  static constexpr int64_t kMaxCells = 250;
  static constexpr uint8_t kDead = 255;  ///< of a cell through which no gradient passes
};

/// Pooled cells [rows][columns][channels] of one image, and which position of each won (max_pool_rows).
struct PooledCells {
  float* data = nullptr;
  uint8_t* winners = nullptr;  ///< may be null
  int64_t row = 0;             ///< elements from one row to the next
  int64_t pixel = 0;           ///< elements from one cell to the next

  [[nodiscard]] PooledCells at(int64_t offset) const {
    return {data + offset, winners == nullptr ? nullptr : winners + offset, row, pixel};
  }
  /// The same cells in other memory, so many elements apart; winners where there are some.
  [[nodiscard]] PooledCells in(float* other, uint8_t* other_winners, int64_t other_row,
                               int64_t other_pixel) const {
    return {other, winners == nullptr ? nullptr : other_winners, other_row, other_pixel};
  }
};

/// Pools rows [begin, end) of the output of one image. `x` [.., W, channels] starts at row y_begin of the
/// pool's input; `pooled` and `winners` (may be null) at the image's first output. winners: index in the
/// window, in row-major order, of the first largest cell; kDead when relu made it zero.
void max_pool_rows(const FusedPool& pool, int64_t begin, int64_t end, int64_t y_begin, const float* x,
                   float* pooled, uint8_t* winners);

/// The gradient [y_end - y_begin, W, channels] with respect to the pool's input before relu, from that with
/// respect to its output rows [begin, end); zero where nothing passes.
void unpool_rows(const FusedPool& pool, int64_t begin, int64_t end, int64_t y_begin, int64_t y_end,
                 const float* grad_pooled, const uint8_t* winners, float* grad);

/// The readable forms of both.
template <typename T>
void max_pool_rows_reference(const FusedPool& pool, int64_t begin, int64_t end, int64_t y_begin, const T* x,
                             T* pooled, uint8_t* winners) {
  for (int64_t oy = begin; oy < end; ++oy) {
    for (int64_t ox = 0; ox < pool.window.x.out; ++ox) {
      const int64_t out = (oy * pool.window.x.out + ox) * pool.channels;
      for (int64_t c = 0; c < pool.channels; ++c) {
        T largest{};
        int64_t winner = -1;
        for_each_cell(pool.window, oy, ox, [&](int64_t iy, int64_t ix, int64_t cell) {
          const T value = x[((iy - y_begin) * pool.window.x.in + ix) * pool.channels + c];
          if (winner >= 0 && !(value > largest) && value == value) return;
          largest = value;
          winner = cell;
        });
        pooled[out + c] = largest;
        if (winners == nullptr) continue;
        winners[out + c] = pool.relu && !(largest > T{0}) ? FusedPool::kDead : static_cast<uint8_t>(winner);
      }
    }
  }
}

template <typename T>
void unpool_rows_reference(const FusedPool& pool, int64_t begin, int64_t end, int64_t y_begin, int64_t y_end,
                           const T* grad_pooled, const uint8_t* winners, T* grad) {
  std::fill(grad, grad + (y_end - y_begin) * pool.window.x.in * pool.channels, T{0});
  for (int64_t oy = begin; oy < end; ++oy) {
    for (int64_t ox = 0; ox < pool.window.x.out; ++ox) {
      const int64_t out = (oy * pool.window.x.out + ox) * pool.channels;
      for_each_cell(pool.window, oy, ox, [&](int64_t iy, int64_t ix, int64_t cell) {
        T* to = grad + ((iy - y_begin) * pool.window.x.in + ix) * pool.channels;
        for (int64_t c = 0; c < pool.channels; ++c) {
          if (winners[out + c] == cell) to[c] = grad_pooled[out + c];
        }
      });
    }
  }
}

}  // namespace nacre
