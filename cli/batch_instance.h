#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/status.h"

namespace nacre {

/// A line of a batch's input.
struct Instance {
  int64_t line = 0;  ///< from 1
  std::string key;   ///< as JSON text, a number as it was written; empty when it has none
  Result<std::vector<std::byte>> image{std::vector<std::byte>()};  ///< encoded
};

/// Reads `{"image": {"b64": "..."}}` or `{"b64": "..."}`, with or without "key". What is wrong with it is in
/// `image`.
Instance read_instance(std::string_view line, int64_t number);

}  // namespace nacre
