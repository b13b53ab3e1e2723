#include "serialize/atomic_common.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <system_error>

namespace nacre {

Status io_error(const std::string& path, std::string_view action, int error) {
  return Status(StatusCode::kIo,
                fmt::format("{}: cannot {}: {}", path, action, std::generic_category().message(error)));
}

Status locked_error(const std::string& path) {
  return Status(StatusCode::kLocked, path + ": another process is writing it");
}

Result<TargetPath> split_target(const std::string& path) {
  const size_t slash = path.rfind('/');
  const std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
  if (name.empty() || name == "." || name == ".." || path.find('\0') != std::string::npos) {
    return Status(StatusCode::kIo, path + ": expected a path that ends in a name");
  }
  const std::string prefix = slash == std::string::npos ? "" : path.substr(0, slash + 1);
  return TargetPath{prefix.empty() ? "." : prefix, prefix + "." + name + ".tmp"};
}

Result<Descriptor> open_folder(FileSystem& fs, const std::string& folder, const std::string& path) {
  Descriptor opened(
      fs, retry_interrupted([&] { return fs.open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0); }));
  if (opened.get() == -1) return io_error(path, fmt::format("open its folder {}", folder), errno);
  return opened;
}

Status sync_folder(FileSystem& fs, int folder_fd, const std::string& path) {
  // Some network file systems cannot fsync a folder and say EINVAL: they keep names in their own way.
  if (retry_interrupted([&] { return fs.fsync(folder_fd); }) == -1 && errno != EINVAL) {
    return io_error(path, "make the new name durable (fsync of its folder)", errno);
  }
  return {};
}

bool is_same_file(FileSystem& fs, int fd, const std::string& path) {
  struct stat by_fd {};
  struct stat by_path {};
  return fs.fstat(fd, &by_fd) == 0 && fs.lstat(path.c_str(), &by_path) == 0 &&
         by_fd.st_dev == by_path.st_dev && by_fd.st_ino == by_path.st_ino;
}

}  // namespace nacre
