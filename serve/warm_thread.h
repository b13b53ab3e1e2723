#pragma once

#include <cstddef>
#include <vector>

namespace nacre {

/// Lets the calling thread's part of the heap grow to what a request usually takes, so that its first one
/// does not wait for the system to bring every page.
inline void warm_thread() {
  constexpr size_t kBytes = size_t{512} << 10;
  constexpr size_t kPage = 4096;
  std::vector<char> bytes(kBytes);
  for (size_t i = 0; i < kBytes; i += kPage) static_cast<volatile char&>(bytes[i]) = 1;
}

}  // namespace nacre
