#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "image/decode.h"

namespace nacre {

/// Decodes a PNG with stb_image to `channels` (1 or 3) 8-bit channels. Only for bytes that walk_png accepted
/// and that hold nothing but IHDR, PLTE, IDAT and IEND. Errors as decode_image.
Result<Image> decode_checked_png(std::span<const std::byte> encoded, int64_t channels);

/// Pixels of three 16-bit channels.
struct DeepImage {
  int64_t height = 0;
  int64_t width = 0;
  std::unique_ptr<uint16_t, void (*)(void*)> samples;

  [[nodiscard]] std::span<const uint16_t> rgb() const {
    return {samples.get(), static_cast<size_t>(height * width * 3)};
  }
};

/// The same for 16-bit samples that keep all their bits.
Result<DeepImage> decode_checked_deep_png(std::span<const std::byte> encoded);

}  // namespace nacre
