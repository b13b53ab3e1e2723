#pragma once

#include <cstddef>
#include <memory>

namespace nacre {

/// Alignment in bytes of every tensor, in memory and in files: one cache line, one AVX-512 register.
inline constexpr size_t kAlignment = 64;

/// `bytes` rounded up to a multiple of kAlignment.
constexpr size_t align_up(size_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

/// What becomes of a block of memory.
enum class MemoryUse {
  kWhole,   ///< all of it is used
  kPartly,  ///< much of it never, perhaps
};

/// At least `bytes` of zeroed memory, kAlignment-aligned; the last owner frees it. Null when there is none,
/// or for 0 bytes. A large block is fresh from the system and nobody has written to it yet: its pages come
/// when they are used, and those that never are cost nothing. What fills whole pages of 2 MB, and is used
/// whole, lies on such pages where the system has them: a step sweeps over hundreds of megabytes, and with
/// pages of 4 KB looking up addresses takes a share of its time.
std::shared_ptr<void> zeroed_memory(size_t bytes, MemoryUse use = MemoryUse::kWhole);

}  // namespace nacre
