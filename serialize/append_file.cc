#include "serialize/append_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace nacre {
namespace {

Status io_error(const std::string& path) {
  return {StatusCode::kIo, path + ": " + std::generic_category().message(errno)};
}

}  // namespace

Result<AppendFile> AppendFile::open(const std::string& path, Open how) {
  const int only = how == Open::kNewOnly ? O_EXCL : 0;
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | only, 0666);
  if (fd < 0) return io_error(path);
  return AppendFile(path, fd);
}

AppendFile::AppendFile(AppendFile&& other) noexcept
    : path_(std::move(other.path_)),
      fd_(std::exchange(other.fd_, -1)),
      pending_(std::move(other.pending_)),
      flushed_(other.flushed_) {}

AppendFile& AppendFile::operator=(AppendFile&& other) noexcept {
  if (this != &other) {
    close();
    path_ = std::move(other.path_);
    fd_ = std::exchange(other.fd_, -1);
    pending_ = std::move(other.pending_);
    flushed_ = other.flushed_;
  }
  return *this;
}

AppendFile::~AppendFile() {
  close();
}

void AppendFile::close() {
  if (fd_ < 0) return;
  static_cast<void>(flush().ok());
  ::close(fd_);
  fd_ = -1;
}

Status AppendFile::flush() {
  size_t done = 0;
  while (done < pending_.size()) {
    const ssize_t n = ::write(fd_, pending_.data() + done, pending_.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      pending_.erase(0, done);
      return io_error(path_);
    }
    done += static_cast<size_t>(n);
  }
  pending_.clear();
  flushed_ = std::chrono::steady_clock::now();
  return {};
}

Status AppendFile::flush_when_due() {
  return std::chrono::steady_clock::now() - flushed_ > std::chrono::seconds(1) ? flush() : Status();
}

Status AppendFile::truncate(int64_t size) {
  return ::ftruncate(fd_, size) == 0 ? Status() : io_error(path_);
}

}  // namespace nacre
