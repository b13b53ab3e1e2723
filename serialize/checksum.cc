#include "serialize/checksum.h"

#include <xxhash.h>

#include <new>

#include "engine/tensor.h"

namespace nacre {

uint64_t xxh3(std::span<const std::byte> bytes) {
  return XXH3_64bits(bytes.data(), bytes.size());
}

struct Xxh3::State {
  XXH3_state_t* state = XXH3_createState();
  ~State() { XXH3_freeState(state); }
};

Xxh3::Xxh3() : state_(std::make_unique<State>()) {
  if (state_->state == nullptr) throw std::bad_alloc();
  XXH3_64bits_reset(state_->state);
}

Xxh3::~Xxh3() = default;

void Xxh3::update(std::span<const std::byte> bytes) {
  XXH3_64bits_update(state_->state, bytes.data(), bytes.size());
}

uint64_t Xxh3::finish() const {
  return XXH3_64bits_digest(state_->state);
}

uint64_t padded_xxh3(std::span<const std::byte> bytes) {
  const size_t padding = align_up(bytes.size()) - bytes.size();
  if (padding == 0) return xxh3(bytes);
  static constexpr std::array<std::byte, kAlignment> kZeros{};
  Xxh3 checksum;
  checksum.update(bytes);
  checksum.update(std::span(kZeros).first(padding));
  return checksum.finish();
}

void Sha256::update(std::span<const std::byte> bytes) {
  sha256_update(&state_, bytes.size(), reinterpret_cast<const uint8_t*>(bytes.data()));
}

Sha256Digest Sha256::finish() {
  Sha256Digest digest;
  sha256_digest(&state_, digest.size(), reinterpret_cast<uint8_t*>(digest.data()));
  return digest;
}

}  // namespace nacre
