#pragma once

#include <cstddef>
#include <span>

#include "image/decode.h"

namespace nacre {

/// Decodes a JPEG with libjpeg-turbo as `contract` says (channels, method, EXIF). Fancy upsampling, as
/// TensorFlow's default. Strict: every warning of libjpeg's is an error; bytes after the end marker are
/// ignored. Errors as decode_image.
Result<Image> decode_jpeg(std::span<const std::byte> encoded, const InputContract& contract,
                          const ImageLimits& limits);

}  // namespace nacre
