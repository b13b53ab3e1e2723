#pragma once

#include <cstddef>
#include <vector>

namespace nacre {

/// A buffer's size and the first and last point in time at which it holds something.
struct Lifetime {
  size_t bytes = 0;
  int begin = 0;
  int end = 0;
};

struct MemoryPlan {
  std::vector<size_t> offsets;  ///< of each buffer, multiples of kAlignment, in the order given
  size_t total_bytes = 0;
};

/// Places buffers in one arena so that no two that live at the same time overlap: in order of their
/// beginning, each at the lowest offset that fits.
MemoryPlan plan_memory(const std::vector<Lifetime>& lifetimes);

}  // namespace nacre
