#include "serialize/file_system.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <string_view>

namespace nacre {
namespace {

class RealFileSystem final : public FileSystem {
 public:
  int open(const char* path, int flags, mode_t mode) override { return ::open(path, flags, mode); }
  ssize_t write(int fd, const void* data, size_t size) override { return ::write(fd, data, size); }
  int fsync(int fd) override { return ::fsync(fd); }
  int close(int fd) override { return ::close(fd); }
  int flock(int fd, int operation) override { return ::flock(fd, operation); }
  int fstat(int fd, struct stat* result) override { return ::fstat(fd, result); }
  int lstat(const char* path, struct stat* result) override { return ::lstat(path, result); }
  int rename(const char* from, const char* to) override { return ::rename(from, to); }
  int unlink(const char* path) override { return ::unlink(path); }
  int symlink(const char* target, const char* path) override { return ::symlink(target, path); }
  int mkdir(const char* path, mode_t mode) override { return ::mkdir(path, mode); }
  int rmdir(const char* path) override { return ::rmdir(path); }
  int openat(int folder, const char* name, int flags) override { return ::openat(folder, name, flags); }
  int unlinkat(int folder, const char* name, int flags) override { return ::unlinkat(folder, name, flags); }
  int exchange(const char* from, const char* to) override {
    return ::renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_EXCHANGE);
  }
  int list(int folder, std::vector<std::string>& names) override {
    // closedir takes the descriptor along, so it gets one of its own.
    const int own = ::openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR* stream = own == -1 ? nullptr : ::fdopendir(own);
    if (stream == nullptr) {
      const int error = errno;
      if (own != -1) ::close(own);
      errno = error;
      return -1;
    }
    errno = 0;
    while (const dirent* entry = ::readdir(stream)) {
      const std::string_view name = entry->d_name;
      if (name != "." && name != "..") names.emplace_back(name);
      errno = 0;
    }
    const int error = errno;
    ::closedir(stream);
    errno = error;
    return error == 0 ? 0 : -1;
  }
};

}  // namespace

FileSystem& real_file_system() {
  static RealFileSystem file_system;
  return file_system;
}

}  // namespace nacre
