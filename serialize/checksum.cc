#include "serialize/checksum.h"

#include <xxhash.h>

#include <memory>
#include <new>

#include "engine/tensor.h"

namespace nacre {

uint64_t xxh3(std::span<const std::byte> bytes) {
  return XXH3_64bits(bytes.data(), bytes.size());
}

uint64_t padded_xxh3(std::span<const std::byte> bytes) {
  const size_t padding = align_up(bytes.size()) - bytes.size();
  if (padding == 0) return xxh3(bytes);
  static constexpr std::array<std::byte, kAlignment> kZeros{};
  const auto free_state = [](XXH3_state_t* state) { XXH3_freeState(state); };
  const std::unique_ptr<XXH3_state_t, decltype(free_state)> state(XXH3_createState(), free_state);
  if (state == nullptr) throw std::bad_alloc();
  XXH3_64bits_reset(state.get());
  XXH3_64bits_update(state.get(), bytes.data(), bytes.size());
  XXH3_64bits_update(state.get(), kZeros.data(), padding);
  return XXH3_64bits_digest(state.get());
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
