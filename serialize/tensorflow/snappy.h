#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "engine/status.h"

namespace nacre {

/// Decodes snappy's raw format (its format_description.txt), which LevelDB compresses blocks with. kCorrupt
/// when `compressed` is not of that format, kLimit when it says that it unfolds to more than `max_bytes`.
Result<std::string> snappy_decompress(std::string_view compressed, size_t max_bytes);

}  // namespace nacre
