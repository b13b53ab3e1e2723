#pragma once

#include <cstdint>

#include "layers/conv.h"

namespace nacre::quads {

/// Windows of inputs of one channel have so many rows and columns, and begin two inputs apart: there all
/// inputs lie that 3 x 3 taps of a kernel meet at the four positions of a pooled cell.
inline constexpr int64_t kSide = 4;
inline constexpr int64_t kWindow = kSide * kSide;

/// Input rows [first, first + rows) and columns from the convolution's first window on, with zeros for what
/// is not in the image: [rows][channels][width].
void copy_planes(const ConvGeometry& g, const float* image, int64_t first, int64_t rows, int64_t width,
                 float* planes);

/// The windows of four rows of planes: [count][channels][kSide][kSide], of a `width` of 2 * count + 2.
void make_windows(const float* planes, int64_t channels, int64_t count, float* windows);

}  // namespace nacre::quads
