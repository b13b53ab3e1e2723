#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace nacre {

/// Asks for a line that will be written, so that no other core keeps a copy. GCC's builtin asks for reading
/// only where it may not assume the instruction, which older CPUs take for none.
template <typename T>
inline void prefetch_to_write(const T* line) {
#if defined(__x86_64__)
  asm volatile("prefetchw %0" : : "m"(*line));
#else
  __builtin_prefetch(line, 1, 2);
#endif
}

/// Asks for memory that will be read next, a part at a time between pieces of other work, so that it is in
/// the second-level cache by then. It may lie beyond the end of an array: nothing is read here.
class FetchAhead {
 public:
  /// `parts`: how often next() will be called.
  template <typename T>
  FetchAhead(const T* data, int64_t count, int64_t parts)
      : at_(reinterpret_cast<const std::byte*>(data)),
        left_(count * static_cast<int64_t>(sizeof(T))),
        part_((left_ / parts + kLine - 1) / kLine * kLine) {}

  void next() {
    const int64_t bytes = std::min(part_, left_);
    for (int64_t i = 0; i < bytes; i += kLine) __builtin_prefetch(at_ + i, 0, 2);
    at_ += bytes;
    left_ -= bytes;
  }

 private:
  static constexpr int64_t kLine = 64;

  const std::byte* at_;
  int64_t left_;
  int64_t part_;
};

}  // namespace nacre
