#pragma once

#include <cstdint>

namespace nacre {

/// Whether an array of so many floats is mostly beyond the second-level cache, so that it pays to ask for its
/// next elements ahead. It changes no bit.
inline bool is_far(int64_t floats) {
  constexpr int64_t kMostNear = 256 * 1024;
  return floats > kMostNear;
}

/// Whether an array of so many floats is better written past the caches: its first elements would be out of
/// them before anybody reads them, and what is written need not be read before. It changes no bit.
inline bool is_past_caches(int64_t floats) {
  constexpr int64_t kMostCached = 4 * 1024 * 1024;
  return floats > kMostCached;
}

}  // namespace nacre
