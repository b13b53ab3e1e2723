#include "layers/direct_gradient.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "layers/direct_gradient.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
// Highway's ops, for the target that foreach_target.h chose.
#include <hwy/highway.h>

#include "engine/vectors-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nacre {
namespace HWY_NAMESPACE {
namespace {

// Sums of a tile: what registers hold, beside two vectors of gradients.
#if HWY_TARGET <= HWY_AVX3
inline constexpr int kMostCells = 12;
#else
inline constexpr int kMostCells = 6;
#endif

/// What every tile goes over.
struct Positions {
  int64_t rows, columns;
  const float* image;
  int64_t image_row, image_step;  // floats from one output's window to the next
  const float* grad;
  int64_t filters;
};

/// One vector of filters from `at` on, or two with `more` behind it.
template <typename Lanes>
struct OneVector {
  static constexpr int kVectors = 1;
  Lanes lanes;
  HWY_INLINE Vector load(const float* x, int /*v*/) const { return lanes.load(x); }
  HWY_INLINE void store(Vector value, float* x, int /*v*/) const { lanes.store(value, x); }
};
template <typename Lanes>
struct TwoVectors {
  static constexpr int kVectors = 2;
  Whole whole;
  Lanes more;
  HWY_INLINE Vector load(const float* x, int v) const { return v == 0 ? whole.load(x) : more.load(x); }
  HWY_INLINE void store(Vector value, float* x, int v) const {
    v == 0 ? whole.store(value, x) : more.store(value, x);
  }
};

/// `cells` floats side by side in a row of the window, the first of which is at p.image for the first
/// position and at `to` in the kernel's gradient.
template <int cells, typename Filters>
HWY_INLINE void add_tile(const Positions& p, const Filters& filters, bool first, float* to) {
  constexpr int kVectors = Filters::kVectors;
  Vector sums[cells][kVectors];
#pragma GCC unroll 12
  for (int c = 0; c < cells; ++c) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      sums[c][v] = first ? set(0) : filters.load(to + c * p.filters, v);
    }
  }
  const float* grad = p.grad;
  for (int64_t y = 0; y < p.rows; ++y) {
    const float* pixel = p.image + y * p.image_row;
    for (int64_t x = 0; x < p.columns; ++x, pixel += p.image_step, grad += p.filters) {
      Vector part[kVectors];
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) part[v] = filters.load(grad, v);
#pragma GCC unroll 12
      for (int c = 0; c < cells; ++c) {
        const Vector value = set(pixel[c]);
#pragma GCC unroll 2
        for (int v = 0; v < kVectors; ++v) sums[c][v] = hn::MulAdd(value, part[v], sums[c][v]);
      }
    }
  }
#pragma GCC unroll 12
  for (int c = 0; c < cells; ++c) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) filters.store(sums[c][v], to + c * p.filters, v);
  }
}

/// add_tile of `count` cells, at most kMostCells.
template <int cells, typename Filters>
void add_tile_of(int64_t count, const Positions& p, const Filters& filters, bool first, float* to) {
  if constexpr (cells > 1) {
    if (count < cells) return add_tile_of<cells - 1>(count, p, filters, first, to);
  }
  add_tile<cells>(p, filters, first, to);
}

/// All cells for some filters. A row of the window is one run of floats; it is cut into tiles of nearly equal
/// size rather than whole tiles and a small rest.
template <typename Filters>
void add_filters(const ConvGeometry& g, const PaddedRows& rows, const Positions& all, const Filters& filters,
                 bool first, float* grad_kernel) {
  const int64_t run = g.window.x.window * g.channels;
  const int64_t tiles = (run + kMostCells - 1) / kMostCells;
  for (int64_t ky = 0; ky < g.window.y.window; ++ky) {
    for (int64_t tile = 0; tile < tiles; ++tile) {
      const int64_t begin = tile * run / tiles;
      Positions p = all;
      p.image = rows.data + ky * g.window.y.dilation * rows.row_stride + begin;
      add_tile_of<kMostCells>((tile + 1) * run / tiles - begin, p, filters, first,
                              grad_kernel + (ky * run + begin) * g.filters);
    }
  }
}

void direct_kernel_gradient_here(const ConvGeometry& g, const PaddedRows& rows, int64_t count,
                                 const float* grad, bool first, float* grad_kernel) {
  const Positions all{
      count, g.window.x.out, nullptr, g.window.y.stride * rows.row_stride, g.window.x.stride * g.channels,
      grad,  g.filters};
  int64_t f = 0;
  for (; f + 2 * kLanes <= g.filters; f += 2 * kLanes) {
    add_filters(g, rows, all, TwoVectors<Whole>{{f}, {f + kLanes}}, first, grad_kernel);
  }
  const int64_t rest = g.filters - f;
  const Part part{rest > kLanes ? f + kLanes : f, static_cast<size_t>(rest % kLanes) * sizeof(float)};
  if (rest > kLanes) {
    add_filters(g, rows, all, TwoVectors<Part>{{f}, part}, first, grad_kernel);
  } else if (rest == kLanes) {
    add_filters(g, rows, all, OneVector<Whole>{{f}}, first, grad_kernel);
  } else if (rest > 0) {
    add_filters(g, rows, all, OneVector<Part>{part}, first, grad_kernel);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace nacre
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace nacre {

HWY_EXPORT(direct_kernel_gradient_here);

void direct_kernel_gradient(const ConvGeometry& g, const PaddedRows& rows, int64_t count, const float* grad,
                            bool first, float* grad_kernel) {
  HWY_DYNAMIC_DISPATCH(direct_kernel_gradient_here)(g, rows, count, grad, first, grad_kernel);
}

}  // namespace nacre
#endif  // HWY_ONCE
