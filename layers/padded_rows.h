#pragma once

#include <cstdint>

#include "layers/conv.h"

namespace nacre {

/// The rows of an image under some output rows of a convolution, padding included: cell (ky, kx) of the
/// window of output (y_begin + i, ox) is at
///   data + (i * stride_y + ky * dilation_y) * row_stride + (ox * stride_x + kx * dilation_x) * channels.
struct PaddedRows {
  const float* data = nullptr;
  int64_t row_stride = 0;  ///< floats
  /// As many rows of the image below these, or of what lies behind it in memory: most likely the next to be
  /// read.
  const float* below = nullptr;
  int64_t below_floats = 0;
};

/// Copies input rows [first, first + count) and columns from the window's first on, `width` of them, with
/// zeros for what is not in the image: to [count][width][channels].
void copy_padded_rows(const ConvGeometry& g, const float* image, int64_t first, int64_t count, int64_t width,
                      float* to);

/// Floats that padded_rows needs for `rows` output rows; 0 when the windows never leave the image. Channels
/// of a pixel are `channels` floats apart.
int64_t padded_rows_floats(const ConvGeometry& g, int64_t rows);

/// The rows under output rows [y_begin, y_end) of `image`: in place where there is no padding, else a copy
/// with zeros around it in `scratch` (padded_rows_floats).
PaddedRows padded_rows(const ConvGeometry& g, const float* image, int64_t y_begin, int64_t y_end,
                       float* scratch);

}  // namespace nacre
