// libFuzzer target: any bytes as an IDX file, plain or gzip.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "train/idx.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto* bytes = reinterpret_cast<const std::byte*>(data);
  const nacre::Result<nacre::IdxArray> array = nacre::parse_idx({bytes, bytes + size});
  if (!array.ok()) {
    if (array.status().message().empty()) std::abort();
    return 0;
  }
  uint64_t product = 1;
  for (const int64_t extent : array->dims) product *= static_cast<uint64_t>(extent);
  if (array->dims.empty() || product != array->bytes().size()) std::abort();
  return 0;
}
