#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "engine/bundle.h"
#include "engine/status.h"
#include "serialize/file_kind.h"
#include "serialize/file_system.h"
#include "serialize/read_options.h"

namespace nacre {

// Thread-safe: any of these may run at the same time, of two writers of one path one is refused.

struct BundleWriteOptions {
  bool overwrite = false;
  bool allow_nonfinite =
      false;  ///< write weights that are NaN or infinite (else kDiverged, naming the tensor)
};

/// Writes a bundle file (docs/bundle-format.md), atomically (serialize/atomic_file.h), without a copy of the
/// weights. The same content gives the same bytes. The folder must be there. Errors are `path: reason`:
/// kBadData when the bundle holds what the format does not allow (a name such as "../x", text that is not
/// UTF-8), kLimit over a limit, kDiverged, and those of AtomicFile.
Status write_bundle(const std::string& path, const Bundle& bundle, const BundleWriteOptions& options = {},
                    FileSystem& file_system = real_file_system());

/// A checksum of what write_bundle would write: two bundles that differ in anything, variables, graph,
/// contract or labels, differ in it.
uint64_t bundle_checksum(const Bundle& bundle);

/// Reads a bundle file; its graph has passed Graph::make, its ops and attributes are for Plan to check (an
/// error of Plan means a corrupt bundle: exit code 4). The weights are borrowed and keep the file's bytes
/// alive. Errors are `path: reason`: kCorrupt, kUnsupported (a newer version, an unknown value of an
/// enumeration), kLimit, kDiverged (weights that are NaN or infinite), kIo.
Result<Bundle> read_bundle(const std::string& path, const ReadOptions& options = {});

/// The same for a file's bytes, 64-byte aligned, which `keep_alive` owns. Errors do not name a file.
Result<Bundle> parse_bundle(std::span<const std::byte> bytes, const std::shared_ptr<void>& keep_alive,
                            const ReadOptions& options = {});

}  // namespace nacre
