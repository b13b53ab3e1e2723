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

/// Cells [begin, end) of a sweep.
struct Taps {
  int64_t begin, end;
  [[nodiscard]] HWY_INLINE int64_t count() const { return end > begin ? end - begin : 0; }
  HWY_INLINE bool operator==(const Taps& other) const { return begin == other.begin && end == other.end; }
};

/// Sums along one axis: output o of the sweep adds up input `origin + o * advance + j * direction` times cell
/// `first_cell + j * cell_step` of the kernel, for those j in [0, cells) whose input lies in [0, inputs). The
/// convolution is one; the gradient with respect to its input is one for each remainder of an input's place
/// by the stride, since only every stride-th cell of the kernel met that input.
struct Sweep {
  int64_t outputs;
  int64_t first_output, output_step;  // where they lie
  int64_t inputs;
  int64_t origin, advance, direction;
  int64_t cells, first_cell, cell_step;

  [[nodiscard]] HWY_INLINE int64_t input(int64_t o, int64_t j) const {
    return origin + o * advance + j * direction;
  }
  [[nodiscard]] HWY_INLINE Taps taps(int64_t o) const {
    const int64_t at = input(o, 0);
    if (direction > 0) return {std::max<int64_t>(0, -at), std::min(cells, inputs - at)};
    return {std::max<int64_t>(0, at - inputs + 1), std::min(cells, at + 1)};
  }
  /// The end of the run of outputs from o on with the same taps.
  [[nodiscard]] HWY_INLINE int64_t end_of_run(int64_t o) const {
    const Taps here = taps(o);
    for (++o; o < outputs && taps(o) == here;) ++o;
    return o;
  }
};

Sweep forward_sweep(const WindowAxis& axis) {
  return {axis.out, 0, 1, axis.in, -axis.before, axis.stride, 1, axis.window, 0, 1};
}

Sweep gradient_sweep(const WindowAxis& axis, int64_t remainder) {
  const int64_t place = remainder + axis.before;
  const int64_t first_cell = place % axis.stride;
  const int64_t cells = first_cell < axis.window ? (axis.window - 1 - first_cell) / axis.stride + 1 : 0;
  const int64_t outputs = remainder < axis.in ? (axis.in - 1 - remainder) / axis.stride + 1 : 0;
  return {outputs, remainder, axis.stride, axis.out,   place / axis.stride,
          1,       -1,        cells,       first_cell, axis.stride};
}

/// What a block of outputs adds up: rows x columns of pixels and weights, and how far apart they lie.
struct Block {
  int64_t rows, columns;
  int64_t pixel_row, pixel_column, weight_row, weight_column;
  int64_t next_pixel;  // from one output to the next
  int64_t next_output;
  int64_t channels;
  const float* bias;
  Clip clip;
};

/// `count` outputs beside each other. The weight is loaded once for all of them; their sums stay in
/// registers.
template <int count>
HWY_INLINE void sum_block(const Block& block, const float* pixels, const float* weights, float* out) {
  const Vector zero = set(0);
  const Vector six = set(6);
  for_each_vector(block.channels, [&](const auto& lanes) HWY_ATTR {
    Vector sums[count];
    const Vector start = block.bias == nullptr ? zero : lanes.load(block.bias);

#pragma GCC unroll 8
    for (int i = 0; i < count; ++i) sums[i] = start;
    for (int64_t y = 0; y < block.rows; ++y) {
      const float* pixel = pixels + y * block.pixel_row;
      const float* weight = weights + y * block.weight_row;
      for (int64_t x = 0; x < block.columns; ++x) {
        const Vector w = lanes.load(weight);

#pragma GCC unroll 8
        for (int i = 0; i < count; ++i) {
          sums[i] = hn::MulAdd(lanes.load(pixel + i * block.next_pixel), w, sums[i]);
        }
        pixel += block.pixel_column;
        weight += block.weight_column;
      }
    }

#pragma GCC unroll 8
    for (int i = 0; i < count; ++i) {
      Vector sum = sums[i];
      if (block.clip != Clip::kNone) sum = hn::IfThenElse(hn::Lt(sum, zero), zero, sum);
      if (block.clip == Clip::kRelu6) sum = hn::IfThenElse(hn::Gt(sum, six), six, sum);
      lanes.store(sum, out + i * block.next_output);
    }
  });
}

/// Row `oy` of the sweeps y and x over `input`, written where it lies in `out`, whose rows are `width` pixels
/// apart.
void sum_row(const DepthwiseGeometry& g, const Sweep& y, const Sweep& x, int64_t oy, const float* input,
             const float* kernel, const float* bias, Clip clip, float* out) {
  const Taps ty = y.taps(oy);
  Block block{};
  block.rows = ty.count();
  block.pixel_row = y.direction * x.inputs * g.channels;
  block.pixel_column = x.direction * g.channels;
  block.weight_row = y.cell_step * g.window.x.window * g.channels;
  block.weight_column = x.cell_step * g.channels;
  block.next_pixel = x.advance * g.channels;
  block.next_output = x.output_step * g.channels;
  block.channels = g.channels;
  block.bias = bias;
  block.clip = clip;
  out += x.first_output * g.channels;
  for (int64_t ox = 0; ox < x.outputs;) {
    const Taps tx = x.taps(ox);
    block.columns = tx.count();
    // Without taps nothing is read.
    const bool empty = block.rows == 0 || block.columns == 0;
    const float* pixels =
        empty ? input : input + (y.input(oy, ty.begin) * x.inputs + x.input(ox, tx.begin)) * g.channels;
    const float* weights = empty ? kernel
                                 : kernel + ((y.first_cell + ty.begin * y.cell_step) * g.window.x.window +
                                             x.first_cell + tx.begin * x.cell_step) *
                                                g.channels;
    for (const int64_t end = x.end_of_run(ox); ox < end;) {
      float* to = out + ox * block.next_output;
      int64_t count = 1;
      if (end - ox >= 8) {
        sum_block<8>(block, pixels, weights, to);
        count = 8;
      } else if (end - ox >= 4) {
        sum_block<4>(block, pixels, weights, to);
        count = 4;
      } else if (end - ox >= 2) {
        sum_block<2>(block, pixels, weights, to);
        count = 2;
      } else {
        sum_block<1>(block, pixels, weights, to);
      }
      if (!empty) pixels += count * block.next_pixel;
      ox += count;
    }
  }
}

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
