#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

#include "engine/tensor.h"

namespace nacre {

/// Zeroed memory, aligned to kAlignment. A large block is fresh from the system and nobody has written to it
/// yet: its pages come when they are used, and those that never are cost nothing. Throws std::bad_alloc.
class ZeroedBytes {
 public:
  explicit ZeroedBytes(size_t bytes) : memory_(std::calloc(1, bytes + kAlignment), std::free), size_(bytes) {
    if (memory_ == nullptr) throw std::bad_alloc();
  }

  [[nodiscard]] std::byte* data() const {
    return reinterpret_cast<std::byte*>(align_up(reinterpret_cast<uintptr_t>(memory_.get())));
  }
  [[nodiscard]] size_t size() const { return size_; }

 private:
  std::unique_ptr<void, void (*)(void*)> memory_;
  size_t size_;
};

}  // namespace nacre
