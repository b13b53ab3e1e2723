#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/checkpoint.h"
#include "engine/status.h"
#include "serialize/file_kind.h"
#include "serialize/file_system.h"
#include "serialize/read_options.h"

namespace nacre {

// Thread-safe: any of these may run at the same time, of two writers of one path one is refused.

/// Writes a checkpoint file (docs/checkpoint-format.md), atomically (serialize/atomic_file.h), in one pass
/// over the tensors without a copy of them. The same content gives the same bytes. The folder must be there.
/// Errors are `path: reason`: kBadData when the checkpoint holds what the format does not allow (a name such
/// as "../x", text that is not UTF-8), kLimit over a limit, and those of AtomicFile.
Status write_checkpoint(const std::string& path, const Checkpoint& checkpoint, bool overwrite,
                        FileSystem& file_system = real_file_system());

/// The bytes of such a file. Errors do not name one.
Result<std::vector<std::byte>> checkpoint_bytes(const Checkpoint& checkpoint);

/// Reads a checkpoint file. The tensors are borrowed (Tensor::borrowed()) and must not be written; they keep
/// the file's bytes alive: clone() what shall be trained on. Errors are `path: reason`: kCorrupt,
/// kUnsupported (a newer version, an unknown value of an enumeration), kLimit, kIo.
Result<Checkpoint> read_checkpoint(const std::string& path, const ReadOptions& options = {});

/// The same for a file's bytes, 64-byte aligned, which `keep_alive` owns. Errors do not name a file.
Result<Checkpoint> parse_checkpoint(std::span<const std::byte> bytes, const std::shared_ptr<void>& keep_alive,
                                    const ReadOptions& options = {});

}  // namespace nacre
