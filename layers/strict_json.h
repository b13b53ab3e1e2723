#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "engine/status.h"

namespace nacre {

/// Limits of JSON text from outside.
inline constexpr size_t kMaxJsonBytes = size_t{16} << 20;
inline constexpr int kMaxJsonDepth = 32;

/// Reads JSON text that may be hostile: at most kMaxJsonBytes, objects and arrays nested at most
/// kMaxJsonDepth deep, no key twice in one object, UTF-8, nothing after the value. Errors are kBadData
/// (kLimit for the size), `where: reason`, with line and column where the text is no JSON.
Result<nlohmann::json> parse_strict_json(std::string_view text, const std::string& where);

}  // namespace nacre
