#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "engine/status.h"

namespace nacre {

/// The bytes that base64 text stands for (RFC 4648, the standard alphabet). The padding may be missing; line
/// breaks and blanks between characters are passed over (MIME), as TensorFlow Serving does. kBadData, naming
/// the place, for any other character, padding that does not fit, a lone last character, or bits that no byte
/// takes.
Result<std::vector<std::byte>> decode_base64(std::string_view text);

}  // namespace nacre
