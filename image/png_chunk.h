#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

namespace nacre {

/// Appends a PNG chunk of four-letter `type`: length, type, payload, checksum. The payload is below 2^31
/// bytes.
void append_png_chunk(std::vector<std::byte>* out, std::string_view type, std::span<const std::byte> payload);

}  // namespace nacre
