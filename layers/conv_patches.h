#pragma once

#include <cstdint>

#include "layers/conv.h"

namespace nacre {

/// Copies the patches under output rows [y_begin, y_end) of one image, of the channels from `image` on that
/// one group has: patches [(y_end - y_begin) * W', kh * kw * channels / groups] (im2col). Padding becomes
/// zeros.
void gather_patches(const ConvGeometry& g, const float* image, int64_t y_begin, int64_t y_end,
                    float* patches);

/// The adjoint: adds every element of the patches to the pixel that it came from (col2im).
void scatter_patches(const ConvGeometry& g, const float* patches, int64_t y_begin, int64_t y_end,
                     float* image);

}  // namespace nacre
