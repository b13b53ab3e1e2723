#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace nacre {

/// CRC-32C (Castagnoli; RFC 3720, appendix B.4) of `bytes`; `before` is that of the bytes that come before
/// them.
[[nodiscard]] uint32_t crc32c(std::span<const std::byte> bytes, uint32_t before = 0);

/// The form that tables, tensor bundles and event files store (LevelDB's table_format.md): a checksum of data
/// that itself holds checksums is a bad one.
[[nodiscard]] constexpr uint32_t mask_crc32c(uint32_t crc) {
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8U;
}

}  // namespace nacre
