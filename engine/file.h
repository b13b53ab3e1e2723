#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/status.h"

namespace nacre {

/// Reads a whole regular file. Refuses what is not a regular file (folder, FIFO, device, socket) without
/// blocking, and what is larger than `max_bytes` (kLimit) before it allocates. Errors are `path: reason` with
/// kIo, or kLimit.
Result<std::vector<std::byte>> read_file(const std::string& path, size_t max_bytes);

/// The first `count` bytes of a regular file, or all there are. Refuses and fails as read_file does.
Result<std::vector<std::byte>> read_file_head(const std::string& path, size_t count);

/// A regular file mapped read-only. Keep the pointer for as long as the bytes are used.
class MappedFile {
 public:
  /// Maps `path`; an empty file gives an empty span. Errors are `path: reason` with kIo.
  static Result<std::shared_ptr<const MappedFile>> open(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  [[nodiscard]] std::span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  MappedFile(const std::byte* data, size_t size) : data_(data), size_(size) {}
  const std::byte* data_;
  size_t size_;
};

}  // namespace nacre
