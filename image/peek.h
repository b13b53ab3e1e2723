#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "engine/input_contract.h"
#include "engine/status.h"

namespace nacre {

/// Bytes from the start of a file that nearly always suffice for peek_size: EXIF and colour profile come
/// before a JPEG's size.
inline constexpr size_t kPeekBytes = size_t{128} << 10;

/// Success for what begins like a JPEG or PNG (`head`: the first bytes of a file, 512 suffice); else kBadData
/// that names the type, as far as it is known.
Status check_image_type(std::span<const std::byte> head);

struct ImageSize {
  int64_t height = 0;
  int64_t width = 0;
  [[nodiscard]] bool operator==(const ImageSize&) const = default;
};

/// The size that a JPEG or PNG which begins with `head` declares: for telling people about their images, with
/// nothing else checked. A JPEG's sides are swapped where `exif` will turn the image. Nothing when the size
/// does not stand there.
std::optional<ImageSize> peek_size(std::span<const std::byte> head, ExifPolicy exif);

}  // namespace nacre
