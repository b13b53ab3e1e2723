#include "engine/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "engine/file_stream.h"

namespace nacre {
namespace {

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&&) = delete;
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int get() const { return fd_; }

 private:
  int fd_;
};

struct OpenFile {
  Descriptor descriptor;
  size_t size;
  timespec changed;  ///< when its content last was
};

Status io_error(const std::string& path, const std::string& reason) {
  return {StatusCode::kIo, path + ": " + reason};
}

Status system_error(const std::string& path, const char* action, int error) {
  return io_error(path, std::string("cannot ") + action + ": " + std::generic_category().message(error));
}

const char* kind_of(mode_t mode) {
  if (S_ISDIR(mode)) return "a folder";
  if (S_ISFIFO(mode)) return "a FIFO";
  if (S_ISSOCK(mode)) return "a socket";
  return "a device";
}

/// read() until something comes, or nothing more (0).
Result<size_t> read_some(const std::string& path, const OpenFile& file, std::span<std::byte> out) {
  for (;;) {
    const ssize_t got = ::read(file.descriptor.get(), out.data(), out.size());
    if (got >= 0) return static_cast<size_t>(got);
    if (errno != EINTR) return system_error(path, "read", errno);
  }
}

Result<OpenFile> open_regular(const std::string& path) {
  if (path.find('\0') != std::string::npos) {
    return io_error(path.substr(0, path.find('\0')), "the name holds a NUL byte");
  }
  // O_NONBLOCK: opening a FIFO that nobody writes to would wait for ever. It has no effect on regular files.
  int fd = -1;
  do {
    fd = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
  } while (fd < 0 && errno == EINTR);
  if (fd < 0) {
    // A socket cannot be opened at all; ENXIO alone would not say why.
    if (errno == ENXIO) return io_error(path, "is a socket or a device, not a regular file");
    return system_error(path, "open", errno);
  }
  Descriptor descriptor(fd);
  struct stat info {};
  if (::fstat(fd, &info) != 0) return system_error(path, "stat", errno);
  if (!S_ISREG(info.st_mode)) {
    return io_error(path, std::string("is ") + kind_of(info.st_mode) + ", not a regular file");
  }
  return OpenFile{std::move(descriptor), static_cast<size_t>(std::max<off_t>(info.st_size, 0)), info.st_mtim};
}

}  // namespace

Result<std::vector<std::byte>> read_file(const std::string& path, size_t max_bytes) {
  NACRE_ASSIGN_OR_RETURN(const OpenFile file, open_regular(path));
  const auto over_limit = [&] {
    return Status(StatusCode::kLimit,
                  path + ": is larger than the limit of " + std::to_string(max_bytes) + " bytes");
  };
  if (file.size > max_bytes) return over_limit();

  // The size is only a hint: a file may grow or shrink while it is read, and those of /proc say 0. One byte
  // more than the hint lets the read that finds the end of the file also find growth.
  constexpr size_t kMinRead = 4096;
  std::vector<std::byte> bytes(std::max(file.size + 1, kMinRead));
  size_t used = 0;
  for (;;) {
    if (used == bytes.size()) bytes.resize(used + std::max(used / 2, kMinRead));
    NACRE_ASSIGN_OR_RETURN(const size_t got, read_some(path, file, std::span(bytes).subspan(used)));
    if (got == 0) break;
    used += got;
    if (used > max_bytes) return over_limit();
  }
  bytes.resize(used);
  return bytes;
}

Result<std::vector<std::byte>> read_file_head(const std::string& path, size_t count) {
  NACRE_ASSIGN_OR_RETURN(const OpenFile file, open_regular(path));
  std::vector<std::byte> bytes(count);
  size_t used = 0;
  while (used < bytes.size()) {
    NACRE_ASSIGN_OR_RETURN(const size_t got, read_some(path, file, std::span(bytes).subspan(used)));
    if (got == 0) break;
    used += got;
  }
  bytes.resize(used);
  return bytes;
}

Result<std::shared_ptr<const MappedFile>> MappedFile::open(const std::string& path) {
  NACRE_ASSIGN_OR_RETURN(const OpenFile file, open_regular(path));
  const std::byte* data = nullptr;
  if (file.size > 0) {
    void* memory = ::mmap(nullptr, file.size, PROT_READ, MAP_PRIVATE, file.descriptor.get(), 0);
    if (memory == MAP_FAILED) return system_error(path, "map", errno);
    data = static_cast<const std::byte*>(memory);
  }
  struct Access : MappedFile {
    Access(const std::byte* bytes, size_t size) : MappedFile(bytes, size) {}
  };
  return std::shared_ptr<const MappedFile>(std::make_shared<const Access>(data, file.size));
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

struct FileStream::State {
  std::string path;
  OpenFile file;
};

FileStream::FileStream(std::unique_ptr<State> state) : state_(std::move(state)) {}
FileStream::FileStream(FileStream&&) noexcept = default;
FileStream& FileStream::operator=(FileStream&&) noexcept = default;
FileStream::~FileStream() = default;

Result<FileStream> FileStream::open(const std::string& path) {
  NACRE_ASSIGN_OR_RETURN(OpenFile file, open_regular(path));
  return FileStream(std::make_unique<State>(State{path, std::move(file)}));
}

Result<size_t> FileStream::read(std::span<std::byte> out) {
  return read_some(state_->path, state_->file, out);
}

Status FileStream::rewind() {
  if (::lseek(state_->file.descriptor.get(), 0, SEEK_SET) == 0) return {};
  return system_error(state_->path, "read", errno);
}

size_t FileStream::size() const {
  return state_->file.size;
}

bool FileStream::changed() const {
  struct stat now {};
  const timespec& then = state_->file.changed;
  return ::fstat(state_->file.descriptor.get(), &now) != 0 ||
         static_cast<size_t>(now.st_size) != state_->file.size || now.st_mtim.tv_sec != then.tv_sec ||
         now.st_mtim.tv_nsec != then.tv_nsec;
}

}  // namespace nacre
