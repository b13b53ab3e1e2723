#pragma once

#include <cerrno>
#include <string>
#include <vector>

#include "serialize/file_system.h"

namespace nacre {

/// The real file system, except that some calls fail; it writes down what was called.
class FaultyFileSystem : public FileSystem {
 public:
  enum class Fault {
    kNone,
    kOnce,        ///< call number n fails with the error
    kFromThenOn,  ///< so do all calls after it
    kShortWrite,  ///< a write at call number n writes one byte only
  };

  explicit FaultyFileSystem(Fault fault = Fault::kNone, size_t n = 0, int error = EIO)
      : fault_(fault), n_(n), error_(error) {}

  /// Names of the calls so far: "open", "write", ...
  [[nodiscard]] const std::vector<std::string>& calls() const { return calls_; }
  /// True when the fault has happened.
  [[nodiscard]] bool fired() const { return fired_; }

  int open(const char* path, int flags, mode_t mode) override {
    return fails("open") ? -1 : real_.open(path, flags, mode);
  }
  ssize_t write(int fd, const void* data, size_t size) override {
    if (fails("write")) return -1;
    if (fault_ == Fault::kShortWrite && calls_.size() == n_ + 1) {
      fired_ = true;
      return real_.write(fd, data, 1);
    }
    return real_.write(fd, data, size);
  }
  /// Does not reach the disk: no test can see whether it did, and all would wait for it.
  int fsync(int /*fd*/) override { return fails("fsync") ? -1 : 0; }
  int close(int fd) override {
    // Linux closes the descriptor even when it reports an error.
    const bool failed = fails("close");
    const int result = real_.close(fd);
    if (failed) errno = error_;
    return failed ? -1 : result;
  }
  int flock(int fd, int operation) override { return fails("flock") ? -1 : real_.flock(fd, operation); }
  int fstat(int fd, struct stat* result) override { return fails("fstat") ? -1 : real_.fstat(fd, result); }
  int lstat(const char* path, struct stat* result) override {
    return fails("lstat") ? -1 : real_.lstat(path, result);
  }
  int rename(const char* from, const char* to) override {
    return fails("rename") ? -1 : real_.rename(from, to);
  }
  int unlink(const char* path) override { return fails("unlink") ? -1 : real_.unlink(path); }
  int symlink(const char* target, const char* path) override {
    return fails("symlink") ? -1 : real_.symlink(target, path);
  }
  int mkdir(const char* path, mode_t mode) override { return fails("mkdir") ? -1 : real_.mkdir(path, mode); }
  int rmdir(const char* path) override { return fails("rmdir") ? -1 : real_.rmdir(path); }
  int openat(int folder, const char* name, int flags) override {
    return fails("openat") ? -1 : real_.openat(folder, name, flags);
  }
  int unlinkat(int folder, const char* name, int flags) override {
    return fails("unlinkat") ? -1 : real_.unlinkat(folder, name, flags);
  }
  int exchange(const char* from, const char* to) override {
    return fails("exchange") ? -1 : real_.exchange(from, to);
  }
  int list(int folder, std::vector<std::string>& names) override {
    return fails("list") ? -1 : real_.list(folder, names);
  }

 private:
  bool fails(const char* name) {
    const size_t i = calls_.size();
    calls_.emplace_back(name);
    const bool failed = (fault_ == Fault::kOnce && i == n_) || (fault_ == Fault::kFromThenOn && i >= n_);
    if (failed) {
      errno = error_;
      fired_ = true;
    }
    return failed;
  }

  FileSystem& real_ = real_file_system();
  Fault fault_;
  size_t n_;
  int error_;
  bool fired_ = false;
  std::vector<std::string> calls_;
};

}  // namespace nacre
