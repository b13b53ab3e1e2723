#pragma once

#include <cstddef>
#include <span>

#include "image/decode.h"

namespace nacre {

/// Decodes a PNG with stb_image to `channels` (1 or 3) 8-bit channels. Only for bytes that walk_png accepted
/// and that hold nothing but IHDR, PLTE, IDAT and IEND. Errors as decode_image.
Result<Image> decode_checked_png(std::span<const std::byte> encoded, int64_t channels);

}  // namespace nacre
