#include "layers/pool_kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "layers/pool_kernels.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
// Highway's ops, for the target that foreach_target.h chose.
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace nacre {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::ScalableTag<float>;
using Ints = hn::RebindToSigned<Floats>;
using Bytes = hn::Rebind<uint8_t, Ints>;

/// The window of one output, clipped to the image.
struct Cells {
  int64_t first_y, end_y, first_x, end_x;  // cells
  int64_t offset;                          // of cell (0, 0) from row y_begin, in elements
};

HWY_INLINE Cells cells_of(const FusedPool& pool, int64_t oy, int64_t ox, int64_t y_begin) {
  const WindowAxis& y = pool.window.y;
  const WindowAxis& x = pool.window.x;
  return {y.first_cell(oy), y.end_cell(oy), x.first_cell(ox), x.end_cell(ox),
          ((y.start(oy) - y_begin) * x.in + x.start(ox)) * pool.channels};
}

void pool_output(const FusedPool& pool, const Cells& cells, const float* x, float* pooled, uint8_t* winners) {
  const Floats d;
  const Ints di;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t row = pool.window.x.in * pool.channels;
  int64_t c = 0;
  for (; c + lanes <= pool.channels; c += lanes) {
    const float* first = x + cells.offset + cells.first_y * row + cells.first_x * pool.channels + c;
    auto largest = hn::LoadU(d, first);
    auto winner = hn::Set(di, static_cast<int32_t>(cells.first_y * pool.window.x.window + cells.first_x));
    for (int64_t ky = cells.first_y; ky < cells.end_y; ++ky) {
      for (int64_t kx = cells.first_x; kx < cells.end_x; ++kx) {
        const auto value = hn::LoadU(d, x + cells.offset + ky * row + kx * pool.channels + c);
        const auto wins = hn::Or(hn::Gt(value, largest), hn::IsNaN(value));
        largest = hn::IfThenElse(wins, value, largest);
        const auto cell = hn::Set(di, static_cast<int32_t>(ky * pool.window.x.window + kx));
        winner = hn::IfThenElse(hn::RebindMask(di, wins), cell, winner);
      }
    }
    hn::StoreU(largest, d, pooled + c);
    if (winners == nullptr) continue;
    if (pool.relu) {
      const auto alive = hn::RebindMask(di, hn::Gt(largest, hn::Zero(d)));
      winner = hn::IfThenElse(alive, winner, hn::Set(di, FusedPool::kDead));
    }
    hn::StoreU(hn::DemoteTo(Bytes(), winner), Bytes(), winners + c);
  }
  for (; c < pool.channels; ++c) {
    float largest = 0.0F;
    int64_t winner = -1;
    for (int64_t ky = cells.first_y; ky < cells.end_y; ++ky) {
      for (int64_t kx = cells.first_x; kx < cells.end_x; ++kx) {
        const float value = x[cells.offset + ky * row + kx * pool.channels + c];
        if (winner >= 0 && !(value > largest) && value == value) continue;
        largest = value;
        winner = ky * pool.window.x.window + kx;
      }
    }
    pooled[c] = largest;
    if (winners == nullptr) continue;
    winners[c] = pool.relu && !(largest > 0.0F) ? FusedPool::kDead : static_cast<uint8_t>(winner);
  }
}

void unpool_output(const FusedPool& pool, const Cells& cells, const float* grad_pooled,
                   const uint8_t* winners, float* grad) {
  const Floats d;
  const Ints di;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t row = pool.window.x.in * pool.channels;
  for (int64_t ky = cells.first_y; ky < cells.end_y; ++ky) {
    for (int64_t kx = cells.first_x; kx < cells.end_x; ++kx) {
      float* to = grad + cells.offset + ky * row + kx * pool.channels;
      const auto cell = static_cast<int32_t>(ky * pool.window.x.window + kx);
      int64_t c = 0;
      for (; c + lanes <= pool.channels; c += lanes) {
        const auto winner = hn::PromoteTo(di, hn::LoadU(Bytes(), winners + c));
        const auto wins = hn::RebindMask(d, hn::Eq(winner, hn::Set(di, cell)));
        hn::StoreU(hn::IfThenElseZero(wins, hn::LoadU(d, grad_pooled + c)), d, to + c);
      }
      for (; c < pool.channels; ++c) to[c] = winners[c] == cell ? grad_pooled[c] : 0.0F;
    }
  }
}

void max_pool_rows_here(const FusedPool& pool, int64_t begin, int64_t end, int64_t y_begin, const float* x,
                        float* pooled, uint8_t* winners) {
  const int64_t width = pool.window.x.out;
  for (int64_t oy = begin; oy < end; ++oy) {
    for (int64_t ox = 0; ox < width; ++ox) {
      const int64_t out = (oy * width + ox) * pool.channels;
      pool_output(pool, cells_of(pool, oy, ox, y_begin), x, pooled + out,
                  winners == nullptr ? nullptr : winners + out);
    }
  }
}

void unpool_rows_here(const FusedPool& pool, int64_t begin, int64_t end, int64_t y_begin, int64_t y_end,
                      const float* grad_pooled, const uint8_t* winners, float* grad) {
  const WindowAxis& y = pool.window.y;
  const WindowAxis& x = pool.window.x;
  // Every cell of a window is written below; only cells between or beyond the windows need zeros.
  const bool covered = y.stride == y.window && x.stride == x.window && x.out * x.stride - x.before >= x.in;
  if (!covered) std::fill(grad, grad + (y_end - y_begin) * x.in * pool.channels, 0.0F);
  for (int64_t oy = begin; oy < end; ++oy) {
    for (int64_t ox = 0; ox < x.out; ++ox) {
      const int64_t out = (oy * x.out + ox) * pool.channels;
      unpool_output(pool, cells_of(pool, oy, ox, y_begin), grad_pooled + out, winners + out, grad);
    }
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace nacre
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace nacre {

HWY_EXPORT(max_pool_rows_here);
HWY_EXPORT(unpool_rows_here);

void max_pool_rows(const FusedPool& pool, int64_t begin, int64_t end, int64_t y_begin, const float* x,
                   float* pooled, uint8_t* winners) {
  HWY_DYNAMIC_DISPATCH(max_pool_rows_here)(pool, begin, end, y_begin, x, pooled, winners);
}

void unpool_rows(const FusedPool& pool, int64_t begin, int64_t end, int64_t y_begin, int64_t y_end,
                 const float* grad_pooled, const uint8_t* winners, float* grad) {
  HWY_DYNAMIC_DISPATCH(unpool_rows_here)(pool, begin, end, y_begin, y_end, grad_pooled, winners, grad);
}

}  // namespace nacre
#endif  // HWY_ONCE
