#pragma once

#include <cstddef>
#include <span>

#include "image/decode.h"

namespace nacre {

/// Decodes a PNG as `contract` says: 16-bit samples keep their high byte, alpha is dropped, colour becomes
/// grey as png_grey.h says (which knows the file's gamma; three channels do not). The pixels are those of
/// TensorFlow's decode_png. Strict, as decode_image says: order, lengths and checksums of all critical
/// chunks, and a compressed stream that holds exactly the promised pixels. Ancillary chunks cannot make an
/// image unusable; bytes after IEND are ignored. Errors as decode_image.
Result<Image> decode_png(std::span<const std::byte> encoded, const InputContract& contract,
                         const ImageLimits& limits);

}  // namespace nacre
