#include "layers/depthwise_kernels.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "layers/depthwise_kernels.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
// Highway's ops, for the target that foreach_target.h chose.
#include <hwy/highway.h>

#include "layers/depthwise_sums-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nacre {
namespace HWY_NAMESPACE {
namespace {

void depthwise_row_here(const DepthwiseGeometry& g, int64_t oy, const float* image, const float* kernel,
                        const float* bias, Clip clip, float* out) {
  sum_row(g, forward_sweep(g.window.y), forward_sweep(g.window.x), oy, image, kernel, bias, clip, out);
}

void depthwise_input_gradient_here(const DepthwiseGeometry& g, const float* grad, const float* kernel,
                                   float* grad_image) {
  const float* no_bias = nullptr;
  for (int64_t iy = 0; iy < g.window.y.in; ++iy) {
    const Sweep y = gradient_sweep(g.window.y, iy % g.window.y.stride);
    for (int64_t remainder = 0; remainder < g.window.x.stride; ++remainder) {
      sum_row(g, y, gradient_sweep(g.window.x, remainder), iy / g.window.y.stride, grad, kernel, no_bias,
              Clip::kNone, grad_image + iy * g.window.x.in * g.channels);
    }
  }
}

/// Outputs [begin, end) of an axis whose windows have all cells [first, first + count) inside the image.
struct Outputs {
  int64_t begin, end;
  Outputs(const WindowAxis& axis, int64_t first, int64_t count)
      : begin(axis.first_out(first)), end(axis.end_out(first + count - 1)) {}
};

/// Adds the gradients of rows x columns cells of the kernel, the first of which is `to`. Their sums stay in
/// registers while all outputs go by that have all of these cells inside the image.
template <int rows, int columns>
void add_cells(const DepthwiseGeometry& g, const Outputs& oy, const Outputs& ox, const float* image,
               const float* grad, int64_t ky, int64_t kx, float* grad_kernel) {
  const WindowAxis& y = g.window.y;
  const WindowAxis& x = g.window.x;
  const int64_t image_row = x.in * g.channels;
  float* to = grad_kernel + (ky * x.window + kx) * g.channels;
  for_each_vector(g.channels, [&](const auto& lanes) HWY_ATTR {
    Vector sums[rows * columns];

#pragma GCC unroll 3
    for (int i = 0; i < rows; ++i) {

#pragma GCC unroll 3
      for (int j = 0; j < columns; ++j) {
        sums[i * columns + j] = lanes.load(to + (i * x.window + j) * g.channels);
      }
    }
    for (int64_t o = oy.begin; o < oy.end; ++o) {
      const float* pixel = image + (y.start(o) + ky) * image_row + (x.start(ox.begin) + kx) * g.channels;
      const float* part = grad + (o * x.out + ox.begin) * g.channels;
      for (int64_t p = ox.begin; p < ox.end; ++p) {
        const Vector v = lanes.load(part);

#pragma GCC unroll 3
        for (int i = 0; i < rows; ++i) {

#pragma GCC unroll 3
          for (int j = 0; j < columns; ++j) {
            Vector& sum = sums[i * columns + j];
            sum = hn::MulAdd(lanes.load(pixel + i * image_row + j * g.channels), v, sum);
          }
        }
        pixel += x.stride * g.channels;
        part += g.channels;
      }
    }

#pragma GCC unroll 3
    for (int i = 0; i < rows; ++i) {

#pragma GCC unroll 3
      for (int j = 0; j < columns; ++j) {
        lanes.store(sums[i * columns + j], to + (i * x.window + j) * g.channels);
      }
    }
  });
}

/// The outputs of an axis that have cell `first` inside the image, but not all `count` cells from it on:
/// before and after `inner`.
template <typename Body>
HWY_INLINE void for_rest(const Outputs& all, const Outputs& inner, const Body& body) {
  Outputs part = all;
  if (inner.begin >= inner.end) {
    body(part);
    return;
  }
  part.end = inner.begin;
  body(part);
  part = all;
  part.begin = inner.end;
  body(part);
}

template <int rows, int columns>
void add_group(const DepthwiseGeometry& g, const float* image, const float* grad, int64_t ky, int64_t kx,
               float* grad_kernel) {
  const Outputs oy(g.window.y, ky, rows);
  const Outputs ox(g.window.x, kx, columns);
  add_cells<rows, columns>(g, oy, ox, image, grad, ky, kx, grad_kernel);
  if constexpr (rows * columns > 1) {
    // The edges, where some of the cells are in the padding.
    for (int i = 0; i < rows; ++i) {
      for (int j = 0; j < columns; ++j) {
        const Outputs all_y(g.window.y, ky + i, 1);
        const Outputs all_x(g.window.x, kx + j, 1);
        for_rest(all_y, oy, [&](const Outputs& part) {
          add_cells<1, 1>(g, part, all_x, image, grad, ky + i, kx + j, grad_kernel);
        });
        if (oy.begin >= oy.end) continue;
        for_rest(all_x, ox, [&](const Outputs& part) {
          add_cells<1, 1>(g, oy, part, image, grad, ky + i, kx + j, grad_kernel);
        });
      }
    }
  }
}

template <int rows>
void add_rows(const DepthwiseGeometry& g, const float* image, const float* grad, int64_t ky,
              float* grad_kernel) {
  for (int64_t kx = 0; kx < g.window.x.window; kx += 3) {
    switch (g.window.x.window - kx) {
      case 1:
        add_group<rows, 1>(g, image, grad, ky, kx, grad_kernel);
        break;
      case 2:
        add_group<rows, 2>(g, image, grad, ky, kx, grad_kernel);
        break;
      default:
        add_group<rows, 3>(g, image, grad, ky, kx, grad_kernel);
    }
  }
}

void depthwise_kernel_gradient_here(const DepthwiseGeometry& g, const float* image, const float* grad,
                                    float* grad_kernel) {
  for (int64_t ky = 0; ky < g.window.y.window; ky += 3) {
    switch (g.window.y.window - ky) {
      case 1:
        add_rows<1>(g, image, grad, ky, grad_kernel);
        break;
      case 2:
        add_rows<2>(g, image, grad, ky, grad_kernel);
        break;
      default:
        add_rows<3>(g, image, grad, ky, grad_kernel);
    }
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace nacre
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace nacre {

HWY_EXPORT(depthwise_row_here);
HWY_EXPORT(depthwise_input_gradient_here);
HWY_EXPORT(depthwise_kernel_gradient_here);

void depthwise_row(const DepthwiseGeometry& g, int64_t oy, const float* image, const float* kernel,
                   const float* bias, Clip clip, float* out) {
  HWY_DYNAMIC_DISPATCH(depthwise_row_here)(g, oy, image, kernel, bias, clip, out);
}

void depthwise_input_gradient(const DepthwiseGeometry& g, const float* grad, const float* kernel,
                              float* grad_image) {
  HWY_DYNAMIC_DISPATCH(depthwise_input_gradient_here)(g, grad, kernel, grad_image);
}

void depthwise_kernel_gradient(const DepthwiseGeometry& g, const float* image, const float* grad,
                               float* grad_kernel) {
  HWY_DYNAMIC_DISPATCH(depthwise_kernel_gradient_here)(g, image, grad, grad_kernel);
}

}  // namespace nacre
#endif  // HWY_ONCE
