#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace nacre {

// Numbers as tables, tensor bundles and snappy store them (LevelDB's table_format.md; protobuf's encoding):
// varints, 7 bits a byte with the lowest first, bit 7 set when more follow; and fixed ones, little-endian.

inline constexpr size_t kMaxVarintBytes = 10;

inline void put_varint(std::string& to, uint64_t value) {
  for (; value >= 0x80; value >>= 7) to += static_cast<char>((value & 0x7f) | 0x80);
  to += static_cast<char>(value);
}

template <typename T>
void put_fixed(std::string& to, T value) {
  for (size_t i = 0; i < sizeof(T); ++i) to += static_cast<char>((value >> (8 * i)) & 0xff);
}

/// Takes a varint off the front of `from`; nothing when it is cut off, longer than it need be, or over 64
/// bits: so every number has one form, and a damaged byte is never another way of saying the same.
inline std::optional<uint64_t> take_varint(std::string_view& from) {
  uint64_t value = 0;
  for (size_t i = 0; i < kMaxVarintBytes && i < from.size(); ++i) {
    const auto byte = static_cast<uint8_t>(from[i]);
    if (i == kMaxVarintBytes - 1 && byte > 1) return std::nullopt;
    value |= static_cast<uint64_t>(byte & 0x7f) << (7 * i);
    if ((byte & 0x80) != 0) continue;
    if (byte == 0 && i > 0) return std::nullopt;
    from.remove_prefix(i + 1);
    return value;
  }
  return std::nullopt;
}

/// The number at the front of `from`, which has at least sizeof(T) bytes.
template <typename T>
T get_fixed(std::string_view from) {
  T value = 0;
  for (size_t i = 0; i < sizeof(T); ++i) {
    value |= static_cast<T>(static_cast<T>(static_cast<uint8_t>(from[i])) << (8 * i));
  }
  return value;
}

}  // namespace nacre
