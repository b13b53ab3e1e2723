#include "layers/depthwise_kernels.h"

#include <algorithm>

#include "layers/fetch_ahead.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "layers/depthwise_kernels.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
// Highway's ops, for the target that foreach_target.h chose.
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include "layers/depthwise_sums-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nacre {
namespace HWY_NAMESPACE {
namespace {

void depthwise_row_here(const DepthwiseGeometry& g, int64_t oy, const float* image, const float* kernel,
                        const float* bias, Clip clip, float* out, RowMemory memory) {
  sum_row(g, forward_sweep(g.window.y), forward_sweep(g.window.x), oy, image, kernel, bias, clip, out,
          {memory.far, memory.bypass && can_bypass(out, g.channels)});
  if (memory.bypass) hwy::FlushStream();
}

void depthwise_input_gradient_here(const DepthwiseGeometry& g, const float* grad, const float* kernel,
                                   float* grad_image) {
  const float* no_bias = nullptr;
  const int64_t row = g.window.x.in * g.channels;
  for (int64_t iy = 0; iy < g.window.y.in; ++iy) {
    const Sweep y = gradient_sweep(g.window.y, iy % g.window.y.stride);
    // Results that lie apart are written to lines that nobody else asks for.
    FetchAhead next_row(grad_image + (iy + 1) * row, g.window.x.stride == 1 ? 0 : row, g.window.x.stride);
    for (int64_t remainder = 0; remainder < g.window.x.stride; ++remainder) {
      next_row.next();
      sum_row(g, y, gradient_sweep(g.window.x, remainder), iy / g.window.y.stride, grad, kernel, no_bias,
              Clip::kNone, grad_image + iy * row, {.far = true});
    }
  }
}

/// Rows [begin, end) of outputs whose windows have the same rows inside the image.
struct Rows {
  int64_t begin, end;
};

/// Rows of an image and of gradients that come next.
struct NextRows {
  const float* image = nullptr;
  int64_t image_floats = 0;
  const float* grad = nullptr;
  int64_t grad_floats = 0;
};

/// Adds the gradients of rows x columns cells of the kernel, the first of which is (ky, kx), from outputs
/// whose windows have these rows inside the image, if perhaps not these columns; and to `bias` (null: not
/// wanted) those of the outputs alone. Their sums stay in registers. Meanwhile it asks for what comes `next`.
template <int rows, int columns>
void add_cells(const DepthwiseGeometry& g, const Rows& oy, const float* image, const float* grad, int64_t ky,
               int64_t kx, float* grad_kernel, float* bias, const NextRows& next) {
  const WindowAxis& y = g.window.y;
  const WindowAxis& x = g.window.x;
  const int64_t image_row = x.in * g.channels;
  // Those that have all the columns; when there are none, all are looked at one by one.
  int64_t inner = std::min(x.first_out(kx), x.out);
  int64_t end = x.end_out(kx + columns - 1);
  if (inner >= end) inner = end = x.out;
  float* to = grad_kernel + (ky * x.window + kx) * g.channels;
  // Often enough that few lines are asked for at once. Only where most of the work is: it is code for each.
  constexpr int64_t kFetchStep = 4;
  constexpr bool kFetches = rows * columns == 9;
  const int64_t steps =
      std::max<int64_t>(1, (oy.end - oy.begin) * ((end - inner) / kFetchStep) * (g.channels / kLanes));
  FetchAhead next_image(next.image, next.image_floats, steps);
  FetchAhead next_grad(next.grad, next.grad_floats, steps);
  for_each_vector(g.channels, [&](const auto& lanes) HWY_ATTR {
    Vector sums[rows * columns];
    Vector all = bias == nullptr ? set(0) : lanes.load(bias);
#pragma GCC unroll 3
    for (int i = 0; i < rows; ++i) {
#pragma GCC unroll 3
      for (int j = 0; j < columns; ++j) {
        sums[i * columns + j] = lanes.load(to + (i * x.window + j) * g.channels);
      }
    }
    for (int64_t o = oy.begin; o < oy.end; ++o) {
      const float* line = image + (y.start(o) + ky) * image_row;
      const float* parts = grad + o * x.out * g.channels;
      const auto add_at_edge = [&](int64_t p) HWY_ATTR {
        const Vector v = lanes.load(parts + p * g.channels);
        all = hn::Add(all, v);
#pragma GCC unroll 3
        for (int j = 0; j < columns; ++j) {
          const int64_t column = x.start(p) + kx + j;
          if (column < 0 || column >= x.in) continue;
#pragma GCC unroll 3
          for (int i = 0; i < rows; ++i) {
            Vector& sum = sums[i * columns + j];
            sum = hn::MulAdd(lanes.load(line + i * image_row + column * g.channels), v, sum);
          }
        }
      };
      for (int64_t p = 0; p < inner; ++p) add_at_edge(p);
      const float* pixel = line + (x.start(inner) + kx) * g.channels;
      const float* part = parts + inner * g.channels;
      for (int64_t p = inner; p < end; ++p) {
        const Vector v = lanes.load(part);
        all = hn::Add(all, v);
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
        if (kFetches && p % kFetchStep == 0) {
          next_image.next();
          next_grad.next();
        }
      }
      for (int64_t p = end; p < x.out; ++p) add_at_edge(p);
    }
#pragma GCC unroll 3
    for (int i = 0; i < rows; ++i) {
#pragma GCC unroll 3
      for (int j = 0; j < columns; ++j) {
        lanes.store(sums[i * columns + j], to + (i * x.window + j) * g.channels);
      }
    }
    if (bias != nullptr) lanes.store(all, bias);
  });
}

/// What the gradients of outputs [oy, end) will be the first to read: a walk along one vector of channels
/// after the other would wait for memory.
NextRows next_rows(const DepthwiseGeometry& g, int64_t oy, int64_t end, const float* image,
                   const float* grad) {
  const WindowAxis& y = g.window.y;
  end = std::min(end, y.out);
  if (oy >= end) return {};
  const int64_t image_row = g.window.x.in * g.channels;
  const int64_t grad_row = g.window.x.out * g.channels;
  // The rows above were read by those before.
  const int64_t first = std::clamp<int64_t>(y.start(oy) + std::max<int64_t>(0, y.window - y.stride), 0, y.in);
  const int64_t last = std::clamp<int64_t>(y.start(end - 1) + y.window, first, y.in);
  return {image + first * image_row, (last - first) * image_row, grad + oy * grad_row, (end - oy) * grad_row};
}

using AddCells = decltype(&add_cells<1, 1>);

void depthwise_gradients_here(const DepthwiseGeometry& g, const float* image, const float* grad,
                              float* grad_kernel, float* grad_bias) {
  static constexpr AddCells kKernels[3][3] = {{add_cells<1, 1>, add_cells<1, 2>, add_cells<1, 3>},
                                              {add_cells<2, 1>, add_cells<2, 2>, add_cells<2, 3>},
                                              {add_cells<3, 1>, add_cells<3, 2>, add_cells<3, 3>}};
  // As many rows at a time as stay in the first-level cache for all channels and cells.
  constexpr int64_t kFloats = 4096;
  const int64_t most = std::max<int64_t>(1, kFloats / (g.window.x.out * g.channels));
  const Sweep y = forward_sweep(g.window.y);
  for (int64_t run = 0; run < y.outputs;) {
    const Taps taps = y.taps(run);
    const Rows oy{run, std::min(run + most, y.end_of_run(run))};
    run = oy.end;
    NextRows next = next_rows(g, run, run + most, image, grad);
    float* bias = grad_bias;
    // Where the window lies in the padding, there is nothing but a bias.
    if (taps.count() == 0 && bias != nullptr) {
      for (int64_t o = oy.begin * g.window.x.out; o < oy.end * g.window.x.out; ++o) {
        for (int64_t c = 0; c < g.channels; ++c) bias[c] += grad[o * g.channels + c];
      }
    }
    for (int64_t ky = taps.begin; ky < taps.end; ky += 3) {
      const int64_t rows = std::min<int64_t>(3, taps.end - ky);
      for (int64_t kx = 0; kx < g.window.x.window; kx += 3) {
        const int64_t columns = std::min<int64_t>(3, g.window.x.window - kx);
        kKernels[rows - 1][columns - 1](g, oy, image, grad, ky, kx, grad_kernel, bias, next);
        bias = nullptr;
        next = {};
      }
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
HWY_EXPORT(depthwise_gradients_here);

void depthwise_row(const DepthwiseGeometry& g, int64_t oy, const float* image, const float* kernel,
                   const float* bias, Clip clip, float* out, RowMemory memory) {
  HWY_DYNAMIC_DISPATCH(depthwise_row_here)(g, oy, image, kernel, bias, clip, out, memory);
}

void depthwise_input_gradient(const DepthwiseGeometry& g, const float* grad, const float* kernel,
                              float* grad_image) {
  HWY_DYNAMIC_DISPATCH(depthwise_input_gradient_here)(g, grad, kernel, grad_image);
}

void depthwise_gradients(const DepthwiseGeometry& g, const float* image, const float* grad,
                         float* grad_kernel, float* grad_bias) {
  HWY_DYNAMIC_DISPATCH(depthwise_gradients_here)(g, image, grad, grad_kernel, grad_bias);
}

}  // namespace nacre
#endif  // HWY_ONCE
