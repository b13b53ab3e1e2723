#pragma once

#include <nettle/sha2.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace nacre {

/// XXH3 with 64 bits, seed 0: finds damage, not malice.
uint64_t xxh3(std::span<const std::byte> bytes);

/// XXH3-64 of `bytes` followed by the zeros that pad them to a multiple of kAlignment.
uint64_t padded_xxh3(std::span<const std::byte> bytes);

using Sha256Digest = std::array<std::byte, 32>;

/// SHA-256 (FIPS 180-4) of bytes that come in pieces.
class Sha256 {
 public:
  Sha256() { sha256_init(&state_); }
  void update(std::span<const std::byte> bytes);
  /// The digest of all bytes so far; begins anew afterwards.
  Sha256Digest finish();

 private:
  sha256_ctx state_;
};

}  // namespace nacre
