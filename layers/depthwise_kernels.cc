#include "layers/depthwise_kernels.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "layers/depthwise_kernels.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
// Highway's ops, for the target that foreach_target.h chose.
#include <hwy/highway.h>

#include "engine/vectors-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nacre {
namespace HWY_NAMESPACE {
namespace {

void depthwise_row_here(const DepthwiseGeometry& g, int64_t oy, const float* image, const float* kernel,
                        const float* bias, Clip clip, float* out) {
  const WindowAxis& y = g.window.y;
  const WindowAxis& x = g.window.x;
  const Vector zero = set(0);
  const Vector six = set(6);
  for (int64_t ox = 0; ox < x.out; ++ox, out += g.channels) {
    const int64_t first_kx = x.first_cell(ox);
    const int64_t end_kx = x.end_cell(ox);
    for_each_vector(g.channels, [&](const auto& lanes) HWY_ATTR {
      Vector sum = bias == nullptr ? zero : lanes.load(bias);
      for (int64_t ky = y.first_cell(oy); ky < y.end_cell(oy); ++ky) {
        const float* pixel = image + ((y.start(oy) + ky) * x.in + x.start(ox) + first_kx) * g.channels;
        const float* weight = kernel + (ky * x.window + first_kx) * g.channels;
        for (int64_t kx = first_kx; kx < end_kx; ++kx, pixel += g.channels, weight += g.channels) {
          sum = hn::MulAdd(lanes.load(pixel), lanes.load(weight), sum);
        }
      }
      if (clip != Clip::kNone) sum = hn::IfThenElse(hn::Lt(sum, zero), zero, sum);
      if (clip == Clip::kRelu6) sum = hn::IfThenElse(hn::Gt(sum, six), six, sum);
      lanes.store(sum, out);
    });
  }
}

void depthwise_input_gradient_here(const DepthwiseGeometry& g, const float* grad, const float* kernel,
                                   float* grad_image) {
  const WindowAxis& x = g.window.x;
  std::fill(grad_image, grad_image + g.image_size(), 0.0F);
  for (int64_t oy = 0; oy < g.window.y.out; ++oy) {
    for (int64_t ox = 0; ox < x.out; ++ox, grad += g.channels) {
      for_each_cell(g.window, oy, ox, [&](int64_t iy, int64_t ix, int64_t cell) HWY_ATTR {
        const float* weight = kernel + cell * g.channels;
        float* pixel = grad_image + (iy * x.in + ix) * g.channels;
        for_each_vector(g.channels, [&](const auto& lanes) HWY_ATTR {
          lanes.store(hn::MulAdd(lanes.load(grad), lanes.load(weight), lanes.load(pixel)), pixel);
        });
      });
    }
  }
}

void depthwise_kernel_gradient_here(const DepthwiseGeometry& g, const float* image, const float* grad,
                                    float* grad_kernel) {
  const WindowAxis& y = g.window.y;
  const WindowAxis& x = g.window.x;
  for (int64_t oy = 0; oy < y.out; ++oy, grad += x.out * g.channels) {
    for (int64_t ky = y.first_cell(oy); ky < y.end_cell(oy); ++ky) {
      const float* row = image + (y.start(oy) + ky) * x.in * g.channels;
      for (int64_t kx = 0; kx < x.window; ++kx) {
        const int64_t first = x.first_out(kx);
        const int64_t end = x.end_out(kx);
        if (first >= end) continue;
        float* to = grad_kernel + (ky * x.window + kx) * g.channels;
        for_each_vector(g.channels, [&](const auto& lanes) HWY_ATTR {
          Vector sum = lanes.load(to);
          const float* pixel = row + (x.start(first) + kx) * g.channels;
          const float* part = grad + first * g.channels;
          for (int64_t ox = first; ox < end; ++ox, pixel += x.stride * g.channels, part += g.channels) {
            sum = hn::MulAdd(lanes.load(pixel), lanes.load(part), sum);
          }
          lanes.store(sum, to);
        });
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
