#include "layers/conv_patches.h"

#include <algorithm>
#include <cstring>

namespace nacre {

void gather_patches(const ConvGeometry& g, const float* image, int64_t y_begin, int64_t y_end,
                    float* patches) {
  const WindowAxis& x = g.window.x;
  const WindowAxis& y = g.window.y;
  const int64_t channels = g.group_channels();
  const auto bytes = [&](int64_t cells) { return static_cast<size_t>(cells * channels) * sizeof(float); };
  const int64_t run = x.window * channels;
  const bool contiguous = x.dilation == 1 && g.groups == 1;
  for (int64_t oy = y_begin; oy < y_end; ++oy) {
    const int64_t first_ky = y.first_cell(oy);
    const int64_t end_ky = y.end_cell(oy);
    for (int64_t ox = 0; ox < x.out; ++ox) {
      const int64_t first = x.first_cell(ox);
      const int64_t end = x.end_cell(ox);
      const float* from = image + (y.start(oy) * x.in + x.start(ox)) * g.channels;
      for (int64_t ky = 0; ky < y.window; ++ky, patches += run, from += y.dilation * x.in * g.channels) {
        if (ky < first_ky || ky >= end_ky) {
          std::memset(patches, 0, bytes(x.window));
          continue;
        }
        if (first > 0) std::memset(patches, 0, bytes(first));
        if (contiguous) {
          std::memcpy(patches + first * channels, from + first * channels, bytes(end - first));
        } else {
          for (int64_t kx = first; kx < end; ++kx) {
            std::memcpy(patches + kx * channels, from + kx * x.dilation * g.channels, bytes(1));
          }
        }
        if (end < x.window) std::memset(patches + end * channels, 0, bytes(x.window - end));
      }
    }
  }
}

void scatter_patches(const ConvGeometry& g, const float* patches, int64_t y_begin, int64_t y_end,
                     float* image) {
  const WindowAxis& x = g.window.x;
  const WindowAxis& y = g.window.y;
  const int64_t channels = g.group_channels();
  const int64_t run = x.window * channels;
  // Cells that lie side by side are added at once.
  const bool contiguous = x.dilation == 1 && g.groups == 1;
  for (int64_t oy = y_begin; oy < y_end; ++oy) {
    for (int64_t ox = 0; ox < x.out; ++ox, patches += y.window * run) {
      const int64_t first = x.first_cell(ox);
      const int64_t end = x.end_cell(ox);
      const int64_t cells = contiguous ? std::max<int64_t>(1, end - first) : 1;
      const int64_t count = cells * channels;
      for (int64_t ky = y.first_cell(oy); ky < y.end_cell(oy); ++ky) {
        const int64_t row = (y.start(oy) + ky * y.dilation) * x.in;
        for (int64_t kx = first; kx < end; kx += cells) {
          const float* from = patches + ky * run + kx * channels;
          float* to = image + (row + x.start(ox) + kx * x.dilation) * g.channels;
          for (int64_t i = 0; i < count; ++i) to[i] += from[i];
        }
      }
    }
  }
}

}  // namespace nacre
