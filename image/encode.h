#pragma once

#include <cstddef>
#include <vector>

#include "engine/status.h"
#include "image/decode.h"

namespace nacre {

// Thread-safe: the functions keep nothing between calls.

/// Writes an image of 1 or 3 channels as an 8-bit grey or RGB PNG. kBadData when the image is empty, has
/// another number of channels, or `pixels` does not have the size that its extents say; kLimit when a side is
/// over 2^24.
Result<std::vector<std::byte>> encode_png(const Image& image);

/// Writes an image of 1 or 3 channels as a grey or YCbCr 4:2:0 baseline JPEG of `quality` 1 to 100 (others
/// are clamped). Errors as encode_png; the largest side is 65,500.
Result<std::vector<std::byte>> encode_jpeg(const Image& image, int quality);

}  // namespace nacre
