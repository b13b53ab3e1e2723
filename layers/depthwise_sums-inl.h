// Sums of depthwise convolutions and of their input gradients for depthwise_kernels.cc, compiled once for
// every instruction set: foreach_target.h flips HWY_TARGET_TOGGLE.
#if defined(NACRE_LAYERS_DEPTHWISE_SUMS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef NACRE_LAYERS_DEPTHWISE_SUMS_INL_H
#undef NACRE_LAYERS_DEPTHWISE_SUMS_INL_H
#else
#define NACRE_LAYERS_DEPTHWISE_SUMS_INL_H
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <array>
#include <limits>
#include <span>
#include <utility>

#include "engine/vectors-inl.h"
#include "layers/depthwise_kernels.h"
#include "layers/fetch_ahead.h"

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
    if (here.count() == cells) {
      // Up to where the window leaves the image.
      const int64_t last = (inputs - (direction > 0 ? cells : 1) - origin) / advance;
      return std::min(outputs, std::max(last, o) + 1);
    }
    for (++o; o < outputs && taps(o) == here;) ++o;
    return o;
  }
};

inline Sweep forward_sweep(const WindowAxis& axis) {
  return {axis.out, 0, 1, axis.in, -axis.before, axis.stride, 1, axis.window, 0, 1};
}

inline Sweep gradient_sweep(const WindowAxis& axis, int64_t remainder) {
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
  float least, most;  // what sums are clipped to
  FetchAhead* below;  // what the row below will be the first to read; may be null
  int64_t next_row;   // from an output to the one below, if that is to be asked for; else 0
  bool bypass;        // the caches, where results are whole vectors
};

/// `count` outputs beside each other. The weight is loaded once for all of them; their sums stay in
/// registers.
template <int count>
HWY_INLINE void sum_block(const Block& block, const float* pixels, const float* weights, float* out) {
  const Vector least = set(block.least);
  const Vector most = set(block.most);
  for_each_vector(block.channels, [&](const auto& lanes) HWY_ATTR {
    Vector sums[count];
    const Vector start = block.bias == nullptr ? set(0) : lanes.load(block.bias);

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
      lanes.store(clipped(sums[i], least, most), out + i * block.next_output);
    }
  });
}

/// The same for windows three cells wide: outputs lie `kAdvance` pixels apart, and `blocks` times `count` of
/// them beside each other. `pixels` is the leftmost of the first output's window, `weights` that pixel's;
/// cells are summed from left to right. A pixel under several windows is loaded once. The leftmost and the
/// rightmost pixel of all may be outside the image: then they are not there (`left`, `right`).
template <int count, int kAdvance>
void sum_threes(const Block& block, int64_t blocks, const float* pixels, const float* weights, float* out,
                bool left, bool right) {
  constexpr int kCells = 3;
  constexpr int kPixels = (count - 1) * kAdvance + kCells;
  // Pixels are addressed by threes, since registers do not hold the places of all.
  constexpr int kGroup = 3;
  constexpr int kGroups = (kPixels + kGroup - 1) / kGroup;
  const Vector least = set(block.least);
  const Vector most = set(block.most);
  // Copies, or the compiler reads them again behind every store.
  const int64_t rows = block.rows;
  const int64_t next_pixel = block.channels;
  const int64_t next_row = block.pixel_row;
  const int64_t weight_row = block.weight_row;
  const int64_t weight_column = block.weight_column;
  const int64_t next_output = block.next_output;
  const bool bypass = block.bypass;
  const float* const bias = block.bias;
  const int64_t below = block.next_row;
  for (int64_t b = 0; b < blocks; ++b) {
    if (block.below != nullptr) block.below->next();
    const bool has_left = left || b > 0;
    const bool has_right = right || b + 1 < blocks;
    for_each_vector(next_pixel, [&](auto lanes) HWY_ATTR {
      const Vector start = bias == nullptr ? set(0) : lanes.load(bias);
      const int64_t first = std::exchange(lanes.at, 0);
      Vector sums[count];
#pragma GCC unroll 8
      for (int i = 0; i < count; ++i) sums[i] = start;
      const float* group[kGroups];
#pragma GCC unroll 4
      for (int i = 0; i < kGroups; ++i) group[i] = pixels + first + i * kGroup * next_pixel;
      const float* weight = weights + first;
      // Otherwise the sums of a row, which are no sooner begun than done, wait for lines to write to.
      if (below != 0) {
#pragma GCC unroll 8
        for (int i = 0; i < count; ++i) prefetch_to_write(out + first + below + i * next_output);
      }
      for (int64_t y = rows; y > 0; --y) {
        const auto inside = [&](int i) HWY_ATTR { return i == 0 ? has_left : i < kPixels - 1 || has_right; };
        const auto load = [&](int i) HWY_ATTR {
          return inside(i) ? lanes.load(group[i / kGroup] + i % kGroup * next_pixel) : set(0);
        };
        Vector shared[kPixels];
        if (kAdvance == 1) {
#pragma GCC unroll 16
          for (int i = 0; i < kPixels; ++i) shared[i] = load(i);
        }
#pragma GCC unroll 3
        for (int x = 0; x < kCells; ++x) {
          const Vector w = lanes.load(weight + x * weight_column);
#pragma GCC unroll 8
          for (int i = 0; i < count; ++i) {
            const int at = i * kAdvance + x;
            const Vector p = kAdvance == 1 ? shared[at] : load(at);
            if (inside(at)) sums[i] = hn::MulAdd(p, w, sums[i]);
          }
        }
#pragma GCC unroll 4
        for (int i = 0; i < kGroups; ++i) group[i] += next_row;
        weight += weight_row;
      }
#pragma GCC unroll 8
      for (int i = 0; i < count; ++i) {
        store_result(lanes, clipped(sums[i], least, most), bypass, out + first + i * next_output);
      }
    });
    pixels += count * kAdvance * next_pixel;
    out += count * next_output;
  }
}

using Threes = void (*)(const Block&, int64_t, const float*, const float*, float*, bool, bool);

/// sum_threes for kLeast, kLeast + 1, .. outputs.
template <int kAdvance, int kLeast, int... kMore>
constexpr std::array<Threes, sizeof...(kMore)> threes(std::integer_sequence<int, kMore...> /*more*/) {
  return {sum_threes<kLeast + kMore, kAdvance>...};
}

/// Some of them.
struct ThreesKernels {
  std::span<const Threes> all;
  int64_t least = 0;  ///< outputs

  [[nodiscard]] int64_t most() const { return least + static_cast<int64_t>(all.size()) - 1; }
  [[nodiscard]] Threes of(int64_t outputs) const { return all[static_cast<size_t>(outputs - least)]; }
};

/// The kernels for a row of the sweep; none when they do not suit it.
inline ThreesKernels threes_for(const Sweep& x) {
#if HWY_TARGET == HWY_SCALAR  // where they would be code without a use
  static_cast<void>(x);
#else
  // As many outputs as hide the latency of their sums and leave registers for their pixels; and half as many,
  // which is what parts of a row of nearly equal size have at least. Less wide images are small.
  static constexpr auto kByOne = threes<1, 3>(std::make_integer_sequence < int, kTileRows == 12 ? 4 : 3 > ());
  static constexpr auto kByTwo = threes<2, 2>(std::make_integer_sequence<int, 3>());
  if (x.cells != 3 || x.advance > 2) return {};
  // Windows must not reach further over the edges than by a pixel.
  const int64_t leftmost = x.direction > 0 ? 0 : 2;
  if (x.input(0, leftmost) < -1 || x.input(x.outputs - 1, 2 - leftmost) > x.inputs) return {};
  const ThreesKernels kernels = x.advance == 1 ? ThreesKernels{kByOne, 3} : ThreesKernels{kByTwo, 2};
  if (x.outputs >= kernels.least) return kernels;
#endif
  return {};
}

/// Row of the sweep x with such kernels; `pixels` and `weights` are those of the first row of cells.
/// Meanwhile it asks for `next_rows`.
inline void sum_row_of_threes(const ThreesKernels& kernels, Block block, const Sweep& x, const float* pixels,
                              const float* weights, std::span<const float> next_rows, float* out) {
  const int64_t leftmost = x.direction > 0 ? 0 : 2;
  weights += leftmost * block.weight_column;
  block.weight_column *= x.direction;
  // Blocks of nearly equal size: the first ones have an output more than the others.
  const int64_t blocks = (x.outputs + kernels.most() - 1) / kernels.most();
  const int64_t least = x.outputs / blocks;
  const int64_t larger = x.outputs - least * blocks;
  FetchAhead below(next_rows.data(), static_cast<int64_t>(next_rows.size()), blocks);
  if (!next_rows.empty()) block.below = &below;
  const auto sum = [&](int64_t count, int64_t together, int64_t begin) {
    const int64_t first = x.input(begin, leftmost);
    const int64_t last = x.input(begin + together * count - 1, 2 - leftmost);
    kernels.of(count)(block, together, pixels + first * block.channels, weights,
                      out + begin * block.next_output, first >= 0, last < x.inputs);
  };
  if (larger > 0) sum(least + 1, larger, 0);
  sum(least, blocks - larger, larger * (least + 1));
}

/// Row `oy` of the sweeps y and x over `input`, written where it lies in `out`, whose rows are `width` pixels
/// apart.
inline void sum_row(const DepthwiseGeometry& g, const Sweep& y, const Sweep& x, int64_t oy,
                    const float* input, const float* kernel, const float* bias, Clip clip, float* out,
                    RowMemory memory) {
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
  block.bypass = memory.bypass;
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  block.least = clip == Clip::kNone ? -kInfinity : 0.0F;
  block.most = clip == Clip::kRelu6 ? 6.0F : kInfinity;
  out += x.first_output * g.channels;
  if (const ThreesKernels kernels = threes_for(x); !kernels.all.empty() && block.rows > 0) {
    const int64_t row = x.inputs * g.channels;
    const float* const below = input + (y.input(oy, y.direction > 0 ? y.cells - 1 : 0) + 1) * row;
    // Results that lie apart are asked for by who knows all of them.
    if (memory.far && !memory.bypass && x.output_step == 1) block.next_row = x.outputs * g.channels;
    const std::span<const float> next(below, memory.far ? static_cast<size_t>(y.advance * row) : 0);
    const int64_t first_cell = (y.first_cell + ty.begin * y.cell_step) * g.window.x.window + x.first_cell;
    return sum_row_of_threes(kernels, block, x, input + y.input(oy, ty.begin) * row,
                             kernel + first_cell * g.channels, next, out);
  }
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

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace nacre
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
