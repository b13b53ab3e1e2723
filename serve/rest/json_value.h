#pragma once

#include <simdjson.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "serve/rpc_status.h"

namespace nacre {

/// Stands before the names of numbers that JSON has no form for (NaN), once they are strings.
inline constexpr char kSpecialMark = '\x01';

/// `JSON Value: 7 Type: Number`
std::string described(const simdjson::dom::element& value);

enum class NumberRange : uint8_t {
  kFloats,  ///< all that are finite as a float, NaN, and both infinities
  kLevels,  ///< 0 to 255, whole
};

/// Appends the numbers of lists in lists of the sizes `dims`; the depth is that of `dims`. kInvalidArgument
/// in TensorFlow Serving's words for lists of other sizes and for what is no such number.
RpcStatus read_numbers(const simdjson::dom::element& value, NumberRange range, std::span<const int64_t> dims,
                       std::vector<float>& out);

}  // namespace nacre
