#include "serialize/tensorflow/snappy.h"

#include <fmt/format.h>

#include <cstdint>

#include "serialize/tensorflow/varint.h"

namespace nacre {
namespace {

Status corrupt(std::string_view reason) {
  return Status(StatusCode::kCorrupt, fmt::format("is no snappy data: {}", reason));
}

/// The lower `count` bytes (at most 4) of a number at the front of `from`, which has them.
size_t take_bytes(std::string_view& from, size_t count) {
  size_t value = 0;
  for (size_t i = 0; i < count; ++i) value |= size_t{static_cast<uint8_t>(from[i])} << (8 * i);
  from.remove_prefix(count);
  return value;
}

}  // namespace

Result<std::string> snappy_decompress(std::string_view compressed, size_t max_bytes) {
  const auto size = take_varint(compressed);
  if (!size.has_value() || *size > UINT32_MAX) return corrupt("bad length");
  if (*size > max_bytes) {
    return Status(StatusCode::kLimit, fmt::format("unfolds to {} bytes; the limit is {}", *size, max_bytes));
  }
  std::string out;
  while (!compressed.empty()) {
    const auto tag = static_cast<uint8_t>(compressed.front());
    compressed.remove_prefix(1);
    if ((tag & 3) == 0) {
      // Bytes as they are: up to 60 of them, or as many as the next 1 to 4 bytes say.
      constexpr size_t kLongest = 60;
      size_t length = tag >> 2;
      if (length >= kLongest) {
        const size_t more = length - kLongest + 1;
        if (compressed.size() < more) return corrupt("it is cut off");
        length = take_bytes(compressed, more);
      }
      ++length;
      if (compressed.size() < length) return corrupt("it is cut off");
      if (*size - out.size() < length) return corrupt("it is longer than it says");
      out += compressed.substr(0, length);
      compressed.remove_prefix(length);
      continue;
    }
    // A copy of what has come out already, from `back` bytes before.
    const size_t extra = (tag & 3) == 1 ? 1 : (tag & 3) == 2 ? 2 : 4;
    if (compressed.size() < extra) return corrupt("it is cut off");
    size_t back = take_bytes(compressed, extra);
    size_t length = (tag >> 2) + size_t{1};
    if (extra == 1) {
      back |= size_t{static_cast<uint8_t>(tag & 0xe0)} << 3;
      length = ((tag >> 2) & 7) + size_t{4};
    }
    if (back == 0 || back > out.size()) return corrupt("it copies from before its begin");
    if (*size - out.size() < length) return corrupt("it is longer than it says");
    // Byte by byte: the copy may reach into itself.
    for (size_t i = 0; i < length; ++i) out += out[out.size() - back];
  }
  if (out.size() != *size) return corrupt("it is shorter than it says");
  return out;
}

}  // namespace nacre
