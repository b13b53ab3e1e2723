#include "layers/padded_rows.h"

#include <algorithm>
#include <cstring>

namespace nacre {
namespace {

/// Inputs under `outputs` windows in a row.
int64_t reach(const WindowAxis& axis, int64_t outputs) {
  return (outputs - 1) * axis.stride + (axis.window - 1) * axis.dilation + 1;
}

bool leaves_image(const WindowAxis& axis) {
  return axis.before > 0 || axis.start(axis.out - 1) + reach(axis, 1) > axis.in;
}

}  // namespace

void copy_padded_rows(const ConvGeometry& g, const float* image, int64_t first, int64_t count, int64_t width,
                      float* to) {
  const int64_t line = g.window.x.in * g.channels;
  const int64_t all = width * g.channels;
  const int64_t left = g.window.x.before * g.channels;
  // With strides above 1, the last columns may lie under no window.
  const int64_t inside = std::min(line, all - left);
  const auto bytes = [](int64_t floats) { return static_cast<size_t>(floats) * sizeof(float); };
  for (int64_t iy = first; iy < first + count; ++iy, to += all) {
    if (iy < 0 || iy >= g.window.y.in) {
      std::memset(to, 0, bytes(all));
      continue;
    }
    std::memset(to, 0, bytes(left));
    std::memcpy(to + left, image + iy * line, bytes(inside));
    std::memset(to + left + inside, 0, bytes(all - left - inside));
  }
}

int64_t padded_rows_floats(const ConvGeometry& g, int64_t rows) {
  if (!leaves_image(g.window.y) && !leaves_image(g.window.x)) return 0;
  return reach(g.window.y, rows) * reach(g.window.x, g.window.x.out) * g.channels;
}

PaddedRows padded_rows(const ConvGeometry& g, const float* image, int64_t y_begin, int64_t y_end,
                       float* scratch) {
  const WindowAxis& x = g.window.x;
  const WindowAxis& y = g.window.y;
  const int64_t first = y.start(y_begin);
  const int64_t line = x.in * g.channels;
  const int64_t rows = reach(y, y_end - y_begin);
  PaddedRows padded{image + first * line, line, image + (first + rows) * line,
                    (y_end - y_begin) * y.stride * line};
  if (!leaves_image(y) && !leaves_image(x)) return padded;
  const int64_t width = reach(x, x.out);
  copy_padded_rows(g, image, first, rows, width, scratch);
  padded.data = scratch;
  padded.row_stride = width * g.channels;
  return padded;
}

}  // namespace nacre
