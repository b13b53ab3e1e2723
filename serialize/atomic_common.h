#pragma once

#include <cerrno>
#include <string>
#include <string_view>
#include <utility>

#include "engine/status.h"
#include "serialize/file_system.h"

// What files and folders that appear whole or not at all have in common. Internal to serialize.

namespace nacre {

/// `call` again for as long as it is interrupted.
template <typename Call>
auto retry_interrupted(Call call) {
  decltype(call()) result;
  do {
    result = call();
  } while (result == -1 && errno == EINTR);
  return result;
}

/// kIo `path: cannot ACTION: what errno value `error` means`.
Status io_error(const std::string& path, std::string_view action, int error);
/// kLocked
Status locked_error(const std::string& path);

struct TargetPath {
  std::string folder;     ///< that the target is in; "." when the path names none
  std::string temporary;  ///< folder and ".NAME.tmp"
};

/// kIo when `path` ends in no name.
Result<TargetPath> split_target(const std::string& path);

/// A file descriptor that is closed at the end.
class Descriptor {
 public:
  Descriptor(FileSystem& fs, int fd) : fs_(&fs), fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fs_(other.fs_), fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fs_, other.fs_);
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor() {
    if (fd_ != -1) fs_->close(fd_);
  }
  [[nodiscard]] int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  FileSystem* fs_;
  int fd_;
};

/// The folder, opened; kIo in the name of `path`, which lies in it.
Result<Descriptor> open_folder(FileSystem& fs, const std::string& folder, const std::string& path);

/// Makes the names in a folder durable; kIo in the name of `path`, which lies in it.
Status sync_folder(FileSystem& fs, int folder_fd, const std::string& path);

/// True when `fd` is the file or folder that `path` names now.
bool is_same_file(FileSystem& fs, int fd, const std::string& path);

}  // namespace nacre
