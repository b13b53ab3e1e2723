// libFuzzer target: any bytes as a checkpoint, or as a bundle when its magic comes first. Read as they are,
// and once more with the checksums made right, since no fuzzer guesses a checksum.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>

#include "engine/tensor.h"
#include "serialize/bundle_file.h"
#include "serialize/checkpoint_file.h"
#include "serialize/checksum.h"
#include "serialize/container.h"

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

nacre::Status read(std::span<const std::byte> bytes, const std::shared_ptr<void>& keep_alive,
                   nacre::LoadDepth depth) {
  const nacre::ReadOptions options{.depth = depth, .use_mmap = true, .allow_nonfinite = true};
  const auto& magic = nacre::kBundleFormat.magic;
  if (bytes.size() >= magic.size() && std::memcmp(bytes.data(), magic.data(), magic.size()) == 0) {
    return nacre::parse_bundle(bytes, keep_alive, options).status();
  }
  return nacre::parse_checkpoint(bytes, keep_alive, options).status();
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
      const nacre::Status status = read(bytes, keep_alive, depth);
      if (!status.ok() && status.message().empty()) std::abort();
    }
  }
  return 0;
}
