#include "engine/memory.h"

#include <sys/mman.h>

#include <cstdlib>

namespace nacre {
namespace {

constexpr size_t kLargePage = size_t{2} << 20;

}  // namespace

std::shared_ptr<void> aligned_memory(size_t bytes) {
  if (bytes == 0) return nullptr;
  const bool large = bytes >= kLargePage;
  void* memory = nullptr;
  if (posix_memalign(&memory, large ? kLargePage : kAlignment, align_up(bytes)) != 0) return nullptr;
  // Whole pages only: the rest of the last would take memory that nobody asked for. A system without them
  // goes on with small ones.
  if (large) madvise(memory, bytes / kLargePage * kLargePage, MADV_HUGEPAGE);
  return {memory, std::free};
}

}  // namespace nacre
