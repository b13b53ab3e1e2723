#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <utility>

#include "engine/status.h"

namespace nacre {

/// A log that grows at its end while a run lasts. What is added is kept in memory until flush(), which writes
/// it whole or says why not; a crash loses at most what was not flushed. For one thread at a time. Errors are
/// `path: reason`, kIo.
class AppendFile {
 public:
  enum class Open : uint8_t {
    kNewOnly,  ///< the file must not be there yet
    kGoOn,     ///< it may; what is added goes after what it holds
  };

  /// A symlink is refused.
  static Result<AppendFile> open(const std::string& path, Open how);
  AppendFile(AppendFile&& other) noexcept;
  AppendFile& operator=(AppendFile&& other) noexcept;
  /// Flushes; there is nobody left to tell of an error.
  ~AppendFile();

  [[nodiscard]] const std::string& path() const { return path_; }
  void add(std::string_view text) { pending_ += text; }
  Status flush();
  /// The same, at most once a second.
  Status flush_when_due();
  /// Cuts off what lies in the file from byte `size` on.
  Status truncate(int64_t size);

 private:
  AppendFile(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}
  void close();

  std::string path_;
  int fd_ = -1;
  std::string pending_;
  std::chrono::steady_clock::time_point flushed_ = std::chrono::steady_clock::now();
};

}  // namespace nacre
