#pragma once

#include <flatbuffers/flatbuffers.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/bundle.h"
#include "engine/status.h"
#include "serialize/metadata.h"

namespace nacre {

/// All that a bundle's metadata says; the variables are still to be bound to their bytes.
struct BundleMetadata {
  Bundle bundle;
  std::vector<TensorEntry> tensors;
};

/// Reads and checks metadata for a blob area of `blob_bytes`.
Result<BundleMetadata> read_bundle_metadata(std::span<const std::byte> bytes, uint64_t blob_bytes);

/// Writes metadata for what check_before_write has passed.
flatbuffers::DetachedBuffer write_bundle_metadata(const Bundle& bundle);

}  // namespace nacre
