#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "engine/attributes.h"
#include "engine/shape.h"
#include "engine/status.h"

namespace nacre {

/// What surrounds an image under a sliding window. "valid": nothing, windows stay inside. "same": as many
/// cells as make the output ceil(input / stride) long, the odd one at the bottom or right
/// (https://www.tensorflow.org/api_docs/python/tf/nn, "Notes on padding").
enum class Padding : uint8_t { kValid, kSame };
std::span<const EnumName<Padding>> enum_names(Padding);

/// A window that slides along one axis. Cell k of output o's window lies at input o * stride - before + k *
/// dilation; what is outside [0, in) is padding.
struct WindowAxis {
  int64_t in = 0;
  int64_t out = 0;
  int64_t window = 0;
  int64_t stride = 1;
  int64_t before = 0;  ///< padding at the top or left
  int64_t dilation = 1;

  /// The input of output o at cell 0 of the window; negative in the padding.
  [[nodiscard]] int64_t start(int64_t o) const { return o * stride - before; }
  /// The cells [first_cell, end_cell) of output o's window that are no padding.
  [[nodiscard]] int64_t first_cell(int64_t o) const {
    return start(o) >= 0 ? 0 : ceil_div(-start(o), dilation);
  }
  [[nodiscard]] int64_t end_cell(int64_t o) const {
    return std::min(window, ceil_div(in - start(o), dilation));
  }
  /// The outputs [first_out, end_out) whose window has input at `cell` (the range may be empty).
  [[nodiscard]] int64_t first_out(int64_t cell) const {
    const int64_t missing = before - cell * dilation;
    return missing <= 0 ? 0 : ceil_div(missing, stride);
  }
  [[nodiscard]] int64_t end_out(int64_t cell) const {
    const int64_t last = in - 1 + before - cell * dilation;
    return last < 0 ? 0 : std::min(out, last / stride + 1);
  }

 private:
  /// Of numbers that are not negative.
  static int64_t ceil_div(int64_t a, int64_t b) { return b == 1 ? a : (a + b - 1) / b; }
};

/// A window that slides over an image.
struct Window2 {
  WindowAxis y;
  WindowAxis x;
  [[nodiscard]] int64_t cells() const { return y.window * x.window; }
};

/// A window that slides over images [H, W, channels], each channel by itself.
struct ChannelWindow {
  Window2 window;
  int64_t channels = 0;

  /// The output's shape for a batch of `batch` images.
  [[nodiscard]] Shape output(int64_t batch) const {
    return Shape{batch, window.y.out, window.x.out, channels};
  }
  /// Elements of an input image.
  [[nodiscard]] int64_t image_size() const { return window.y.in * window.x.in * channels; }
  /// The cells of output (oy, ox)'s window that are no padding.
  [[nodiscard]] int64_t cells_inside(int64_t oy, int64_t ox) const {
    return (window.y.end_cell(oy) - window.y.first_cell(oy)) *
           (window.x.end_cell(ox) - window.x.first_cell(ox));
  }
  /// body(offset into the image) for each of them, in row-major order.
  template <typename Body>
  void for_cells(int64_t oy, int64_t ox, const Body& body) const;
};

/// body(iy, ix, cell) for every cell of output (oy, ox)'s window that is no padding, in row-major order;
/// `cell` counts the whole window.
template <typename Body>
void for_each_cell(const Window2& window, int64_t oy, int64_t ox, const Body& body) {
  for (int64_t ky = window.y.first_cell(oy); ky < window.y.end_cell(oy); ++ky) {
    for (int64_t kx = window.x.first_cell(ox); kx < window.x.end_cell(ox); ++kx) {
      body(window.y.start(oy) + ky * window.y.dilation, window.x.start(ox) + kx * window.x.dilation,
           ky * window.x.window + kx);
    }
  }
}

template <typename Body>
void ChannelWindow::for_cells(int64_t oy, int64_t ox, const Body& body) const {
  for_each_cell(window, oy, ox,
                [&](int64_t iy, int64_t ix, int64_t) { body((iy * window.x.in + ix) * channels); });
}

/// The geometry over `input` [N, H, W, C]. kBadData when it is no batch of images, or the window does not fit
/// ("valid").
Result<Window2> make_window(const Shape& input, Extent2 window, Extent2 strides, Padding padding,
                            Extent2 dilation = {1, 1});

/// The attributes of the pooling layers. Names and defaults are Keras's.
struct PoolAttrs {
  Extent2 pool_size{2, 2};
  Extent2 strides{0, 0};
  Padding padding = Padding::kValid;

  template <typename Visitor>
  void visit(Visitor& v) {
    v.field("pool_size", pool_size, 1, 1024, "height and width of the window");
    v.field("strides", strides, 0, 1024, "steps of the window; 0 means as pool_size");
    v.field(
        "padding", padding,
        "\"valid\": windows stay inside the image; \"same\": the output has ceil(input / stride) rows and "
        "columns, windows reach over the edges");
  }

  /// `strides` with every 0 replaced.
  [[nodiscard]] Extent2 resolved_strides() const {
    return {strides.height == 0 ? pool_size.height : strides.height,
            strides.width == 0 ? pool_size.width : strides.width};
  }
};

/// The window of a pooling layer with `attributes` over `input` [N, H, W, C]; errors as make_window.
Result<ChannelWindow> make_pool_window(const AttrMap& attributes, const Shape& input);

/// OpDef::normalize of the pooling layers: strides are written out.
Result<AttrMap> normalize_pool_attributes(const AttrMap& attributes);

}  // namespace nacre
