#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/status.h"

namespace nacre {

/// The bytes that base64 text stands for (RFC 4648, the standard alphabet). The padding may be missing; line
/// breaks and blanks between characters are passed over (MIME), as TensorFlow Serving does. kBadData, naming
/// the place, for any other character, padding that does not fit, a lone last character, or bits that no byte
/// takes.
Result<std::vector<std::byte>> decode_base64(std::string_view text);

/// The base64 text of `bytes`, padded, on one line (RFC 4648, the standard alphabet).
std::string encode_base64(std::span<const std::byte> bytes);

}  // namespace nacre
