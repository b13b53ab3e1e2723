#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "engine/status.h"

namespace nacre {

/// A regular file that is read from its beginning to its end, for those that may be large and may change
/// meanwhile. Refuses what read_file refuses. Errors are `path: reason`, kIo.
class FileStream {
 public:
  static Result<FileStream> open(const std::string& path);
  FileStream(FileStream&&) noexcept;
  FileStream& operator=(FileStream&&) noexcept;
  ~FileStream();

  /// The next bytes, at least one; 0 at the end.
  Result<size_t> read(std::span<std::byte> out);
  /// The next read begins at the first byte.
  Status rewind();
  /// Bytes of the file when it was opened.
  [[nodiscard]] size_t size() const;
  /// True when its size or the time of its last change is another than when it was opened.
  [[nodiscard]] bool changed() const;

 private:
  struct State;
  explicit FileStream(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace nacre
