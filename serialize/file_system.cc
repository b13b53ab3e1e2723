#include "serialize/file_system.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cstdio>

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
};

}  // namespace

FileSystem& real_file_system() {
  static RealFileSystem file_system;
  return file_system;
}

}  // namespace nacre
