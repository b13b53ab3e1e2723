#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <cstddef>
#include <string>
#include <vector>

namespace nacre {

/// The calls to the operating system that writing files makes, with its own names, arguments and results: -1
/// and errno for an error. Tests put one in between that makes the n-th call fail.
class FileSystem {
 public:
  virtual ~FileSystem() = default;

  virtual int open(const char* path, int flags, mode_t mode) = 0;
  virtual ssize_t write(int fd, const void* data, size_t size) = 0;
  virtual int fsync(int fd) = 0;
  virtual int close(int fd) = 0;
  virtual int flock(int fd, int operation) = 0;
  virtual int fstat(int fd, struct stat* result) = 0;
  virtual int lstat(const char* path, struct stat* result) = 0;
  virtual int rename(const char* from, const char* to) = 0;
  virtual int unlink(const char* path) = 0;
  virtual int symlink(const char* target, const char* path) = 0;
  virtual int mkdir(const char* path, mode_t mode) = 0;
  virtual int rmdir(const char* path) = 0;
  virtual int openat(int folder, const char* name, int flags) = 0;
  virtual int unlinkat(int folder, const char* name, int flags) = 0;
  /// renameat2 with RENAME_EXCHANGE.
  virtual int exchange(const char* from, const char* to) = 0;
  /// The names in an open folder, without "." and "..": fdopendir and readdir.
  virtual int list(int folder, std::vector<std::string>& names) = 0;
};

/// The operating system itself. Stateless, for any thread.
FileSystem& real_file_system();

}  // namespace nacre
