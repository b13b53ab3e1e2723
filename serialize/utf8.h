#pragma once

#include <string_view>

namespace nacre {

/// True when `text` is well-formed UTF-8 (RFC 3629: shortest forms, no surrogates, at most U+10FFFF).
bool is_utf8(std::string_view text);

}  // namespace nacre
