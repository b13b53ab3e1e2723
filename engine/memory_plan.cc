#include "engine/memory_plan.h"

#include <algorithm>
#include <numeric>

#include "engine/tensor.h"

namespace nacre {
namespace {

struct Block {
  size_t offset;
  size_t bytes;
  int end;
};

}  // namespace

MemoryPlan plan_memory(const std::vector<Lifetime>& lifetimes) {
  std::vector<size_t> order(lifetimes.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, {}, [&](size_t i) { return lifetimes[i].begin; });

  MemoryPlan plan;
  plan.offsets.assign(lifetimes.size(), 0);
  std::vector<Block> live;  // sorted by offset
  for (const size_t i : order) {
    const Lifetime& life = lifetimes[i];
    const size_t bytes = align_up(life.bytes);
    if (bytes == 0) continue;
    std::erase_if(live, [&](const Block& block) { return block.end < life.begin; });
    size_t offset = 0;
    auto place = live.begin();
    while (place != live.end() && place->offset < offset + bytes) {
      offset = place->offset + place->bytes;
      ++place;
    }
    live.insert(place, {offset, bytes, life.end});
    plan.offsets[i] = offset;
    plan.total_bytes = std::max(plan.total_bytes, offset + bytes);
  }
  return plan;
}

}  // namespace nacre
