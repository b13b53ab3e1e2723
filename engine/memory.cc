#include "engine/memory.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>

namespace nacre {
namespace {

constexpr size_t kLargePage = size_t{2} << 20;

}  // namespace

std::shared_ptr<void> zeroed_memory(size_t bytes, MemoryUse use) {
  if (bytes == 0) return nullptr;
  const bool large = bytes >= kLargePage;
  const size_t alignment = large ? kLargePage : kAlignment;
  if (bytes > SIZE_MAX - alignment) return nullptr;
  // calloc, since it knows which pages are fresh from the system and need not be cleared.
  std::shared_ptr<void> block(std::calloc(1, bytes + alignment), std::free);
  if (block == nullptr) return nullptr;
  const auto place = reinterpret_cast<uintptr_t>(block.get());
  void* const memory = static_cast<char*>(block.get()) + (alignment - place % alignment) % alignment;
  // Whole pages only: the rest of the last would take memory that nobody asked for. A system without them
  // goes on with small ones.
  const int pages = use == MemoryUse::kWhole ? MADV_HUGEPAGE : MADV_NOHUGEPAGE;
  if (large) madvise(memory, bytes / kLargePage * kLargePage, pages);
  return {block, memory};
}

}  // namespace nacre
