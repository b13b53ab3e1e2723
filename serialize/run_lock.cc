#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <string>
#include <system_error>
#include <utility>

#include "serialize/atomic_file.h"

namespace nacre {
namespace {

/// The process id that the lock file holds; 0 when it holds none.
long read_owner(int fd) {
  std::array<char, 24> text{};
  const ssize_t size = ::pread(fd, text.data(), text.size(), 0);
  long owner = 0;
  if (size <= 0 || std::from_chars(text.data(), text.data() + size, owner).ec != std::errc()) return 0;
  return owner;
}

}  // namespace

Result<RunLock> RunLock::acquire(const std::string& folder) {
  const std::string path = folder + "/.lock";
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0666);
  if (fd == -1) {
    return Status(StatusCode::kIo,
                  fmt::format("{}: cannot open the lock: {}", path, std::generic_category().message(errno)));
  }
  RunLock lock(fd);
  int locked = 0;
  do {
    locked = ::flock(fd, LOCK_EX | LOCK_NB);
  } while (locked == -1 && errno == EINTR);
  if (locked == -1 && errno == EWOULDBLOCK) {
    const long owner = read_owner(fd);
    return Status(StatusCode::kLocked, owner > 0 ? fmt::format("{}: in use by process {}", folder, owner)
                                                 : fmt::format("{}: in use by another process", folder));
  }
  if (locked == -1) {
    return Status(StatusCode::kIo,
                  fmt::format("{}: cannot lock: {}", path, std::generic_category().message(errno)));
  }
  const std::string owner = fmt::format("{}\n", ::getpid());
  if (::ftruncate(fd, 0) == -1 ||
      ::pwrite(fd, owner.data(), owner.size(), 0) != static_cast<ssize_t>(owner.size())) {
    return Status(StatusCode::kIo,
                  fmt::format("{}: cannot write: {}", path, std::generic_category().message(errno)));
  }
  return lock;
}

RunLock::RunLock(RunLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

RunLock& RunLock::operator=(RunLock&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

RunLock::~RunLock() {
  if (fd_ != -1) ::close(fd_);
}

}  // namespace nacre
