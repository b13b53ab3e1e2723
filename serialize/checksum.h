#pragma once

#include <nettle/sha2.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace nacre {

/// XXH3 with 64 bits, seed 0: finds damage, not malice.
uint64_t xxh3(std::span<const std::byte> bytes);

/// The same of bytes that come in pieces.
class Xxh3 {
 public:
  Xxh3();
  ~Xxh3();
  Xxh3(const Xxh3&) = delete;
  Xxh3& operator=(const Xxh3&) = delete;
  void update(std::span<const std::byte> bytes);
  /// The checksum of all bytes so far.
  [[nodiscard]] uint64_t finish() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

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
