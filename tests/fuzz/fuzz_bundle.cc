// Feeds the bundle reader. The input is a file; half of the runs get its checksums made right first, since no
// fuzzer guesses a checksum.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>

#include "engine/tensor.h"
#include "serialize/bundle_file.h"
#include "serialize/checksum.h"

namespace {

/// Makes sizes, footer and checksums fit, so that the metadata is what is tested.
void repair(std::span<std::byte> file) {
  constexpr size_t kHeader = 64;
  constexpr size_t kFooter = 40;
  if (file.size() < kHeader + kFooter) return;
  const auto put = [&](size_t at, uint64_t value) { std::memcpy(file.data() + at, &value, sizeof(value)); };
  const size_t body = (file.size() - kHeader - kFooter) / nacre::kAlignment * nacre::kAlignment;
  if (body + kHeader + kFooter != file.size()) return;
  uint64_t metadata = 0;
  std::memcpy(&metadata, file.data() + 24, sizeof(metadata));
  metadata = std::min<uint64_t>(metadata, body);
  const size_t padded = nacre::align_up(metadata);
  put(16, file.size());
  put(24, metadata);
  put(32, body - padded);
  put(40, nacre::xxh3(file.subspan(kHeader, padded)));
  put(56, nacre::xxh3(file.first(56)));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  void* memory = nullptr;
  if (posix_memalign(&memory, nacre::kAlignment, size) != 0) return 0;
  const std::shared_ptr<void> keep_alive(memory, std::free);
  std::memcpy(memory, data, size);
  const std::span<std::byte> bytes(static_cast<std::byte*>(memory), size);
  for (const bool repaired : {false, true}) {
    if (repaired) repair(bytes);
    for (const auto depth : {nacre::LoadDepth::kLoad, nacre::LoadDepth::kVerify}) {
      const nacre::ReadOptions options{.depth = depth, .use_mmap = true, .allow_nonfinite = true};
      const auto read = nacre::parse_bundle(bytes, keep_alive, options);
      if (!read.ok() && read.status().message().empty()) std::abort();
    }
  }
  return 0;
}
