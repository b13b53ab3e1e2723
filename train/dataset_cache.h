#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "image/decode.h"

namespace nacre {

/// A decoded image kept in memory: the decoder's bytes where converting them is cheap, else the finished
/// input.
struct CacheEntry {
  Image image;
  std::vector<float> input;
};

/// Decoded images by number. Any thread may call anything: a slot is filled once and never emptied, so that
/// readers need no lock.
class ImageCache {
 public:
  ImageCache(int64_t images, size_t capacity) : capacity_(capacity), slots_(static_cast<size_t>(images)) {}
  ~ImageCache() {
    for (auto& slot : slots_) std::unique_ptr<const CacheEntry>(slot.load());
  }
  ImageCache(const ImageCache&) = delete;
  ImageCache& operator=(const ImageCache&) = delete;

  [[nodiscard]] const CacheEntry* find(int64_t i) const {
    return slots_[static_cast<size_t>(i)].load(std::memory_order_acquire);
  }

  /// Reserves memory for an entry with `bytes` of data; false when the cache is full.
  bool reserve(size_t bytes) {
    bytes += sizeof(CacheEntry);
    size_t used = used_.load();
    do {
      if (bytes > capacity_ - used) return false;
    } while (!used_.compare_exchange_weak(used, used + bytes));
    return true;
  }

  /// Two threads may have decoded the same image: the first one's stays, and equals the other's.
  void put(int64_t i, std::unique_ptr<const CacheEntry> entry) {
    const CacheEntry* expected = nullptr;
    if (slots_[static_cast<size_t>(i)].compare_exchange_strong(expected, entry.get())) {
      static_cast<void>(entry.release());
    }
  }

 private:
  size_t capacity_;
  std::atomic<size_t> used_{0};
  std::vector<std::atomic<const CacheEntry*>> slots_;
};

}  // namespace nacre
