#include "serialize/atomic_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>

#include <cerrno>
#include <utility>

#include "serialize/atomic_common.h"

namespace nacre {
namespace {

/// Turns of the loop that takes the temporary's name; each turn lost means that another writer came between.
constexpr int kMaxTries = 100;

/// Removes a temporary that a dead process left. kLocked when its writer is alive.
Status sweep(FileSystem& fs, const std::string& path, const std::string& temporary) {
  const int flags = O_WRONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC;
  const Descriptor stale(fs, retry_interrupted([&] { return fs.open(temporary.c_str(), flags, 0); }));
  if (stale.get() == -1) {
    return errno == ENOENT ? Status()
                           : io_error(path, fmt::format("sweep the old temporary {}", temporary), errno);
  }
  if (retry_interrupted([&] { return fs.flock(stale.get(), LOCK_EX | LOCK_NB); }) == -1) {
    return errno == EWOULDBLOCK ? locked_error(path) : io_error(path, "lock " + temporary, errno);
  }
  // Only who holds the lock of a temporary may unlink it, so between this check and unlink nobody puts
  // another file there.
  if (is_same_file(fs, stale.get(), temporary) && fs.unlink(temporary.c_str()) == -1) {
    return io_error(path, fmt::format("sweep the old temporary {}", temporary), errno);
  }
  return {};
}

/// Creates and locks the temporary.
Result<Descriptor> take_temporary(FileSystem& fs, const std::string& path, const std::string& temporary) {
  const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
  for (int i = 0; i < kMaxTries; ++i) {
    Descriptor fd(fs, retry_interrupted([&] { return fs.open(temporary.c_str(), flags, 0666); }));
    if (fd.get() == -1 && errno != EEXIST) {
      return io_error(path, fmt::format("create {}", temporary), errno);
    }
    if (fd.get() == -1) {
      NACRE_RETURN_IF_ERROR(sweep(fs, path, temporary));
      continue;
    }
    if (retry_interrupted([&] { return fs.flock(fd.get(), LOCK_EX | LOCK_NB); }) == -1) {
      const int error = errno;
      // EWOULDBLOCK: another writer took the new file for an old one and is about to sweep it.
      if (error == EWOULDBLOCK) return locked_error(path);
      fs.unlink(temporary.c_str());
      return io_error(path, "lock " + temporary, error);
    }
    if (is_same_file(fs, fd.get(), temporary)) return fd;
  }
  return locked_error(path);
}

/// Checks that `path` may be replaced (or created).
Status check_target(FileSystem& fs, const std::string& path, bool overwrite) {
  struct stat found {};
  if (fs.lstat(path.c_str(), &found) == -1) {
    return errno == ENOENT ? Status() : io_error(path, "look at it", errno);
  }
  if (S_ISLNK(found.st_mode)) {
    return Status(StatusCode::kIo, path + ": is a symlink; expected a regular file or nothing");
  }
  if (!S_ISREG(found.st_mode)) {
    return Status(StatusCode::kIo, fmt::format("{}: is {}; expected a regular file or nothing", path,
                                               S_ISDIR(found.st_mode) ? "a folder" : "a special file"));
  }
  if (!overwrite) return Status(StatusCode::kIo, path + ": exists already (--overwrite replaces it)");
  return {};
}

}  // namespace

struct AtomicFile::State {
  State(FileSystem& file_system, std::string target, std::string temporary_path, Descriptor folder_held,
        Descriptor file_held)
      : fs(file_system),
        path(std::move(target)),
        temporary(std::move(temporary_path)),
        folder(std::move(folder_held)),
        file(std::move(file_held)) {}

  FileSystem& fs;
  std::string path;
  std::string temporary;
  Descriptor folder;
  Descriptor file;
  bool failed = false;

  void drop() {
    // First the name, then the lock.
    fs.unlink(temporary.c_str());
    file = Descriptor(fs, -1);
  }
};

AtomicFile::AtomicFile(std::unique_ptr<State> state) : state_(std::move(state)) {}
AtomicFile::AtomicFile(AtomicFile&&) noexcept = default;
AtomicFile& AtomicFile::operator=(AtomicFile&& other) noexcept {
  std::swap(state_, other.state_);
  return *this;
}
AtomicFile::~AtomicFile() {
  if (state_ != nullptr) state_->drop();
}

Result<AtomicFile> AtomicFile::create(const std::string& path, bool overwrite, FileSystem& file_system) {
  NACRE_ASSIGN_OR_RETURN(TargetPath names, split_target(path));
  NACRE_ASSIGN_OR_RETURN(Descriptor folder, open_folder(file_system, names.folder, path));
  NACRE_ASSIGN_OR_RETURN(Descriptor file, take_temporary(file_system, path, names.temporary));
  AtomicFile result(
      std::make_unique<State>(file_system, path, names.temporary, std::move(folder), std::move(file)));
  NACRE_RETURN_IF_ERROR(check_target(file_system, path, overwrite));
  return result;
}

Status AtomicFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written =
        retry_interrupted([&] { return state_->fs.write(state_->file.get(), bytes.data(), bytes.size()); });
    if (written <= 0) {
      state_->failed = true;
      return io_error(state_->path, "write", written == 0 ? ENOSPC : errno);
    }
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
  return {};
}

Status AtomicFile::commit() {
  const std::unique_ptr<State> state = std::move(state_);
  FileSystem& fs = state->fs;
  const auto fail = [&](std::string_view action) {
    const int error = errno;
    state->drop();
    return io_error(state->path, action, error);
  };
  if (state->failed) {
    errno = EIO;
    return fail("finish after a failed write");
  }
  if (retry_interrupted([&] { return fs.fsync(state->file.get()); }) == -1) return fail("fsync");
  // The lock must outlive the rename, or a second writer could sweep a temporary that is whole; so close,
  // whose error still matters on network file systems, works on what remains after it.
  if (fs.rename(state->temporary.c_str(), state->path.c_str()) == -1) return fail("rename its temporary");
  // On Linux the descriptor is gone after EINTR too.
  if (fs.close(state->file.release()) == -1 && errno != EINTR) return io_error(state->path, "close", errno);
  return sync_folder(fs, state->folder.get(), state->path);
}

Status atomic_write_text(const std::string& path, std::string_view text, bool overwrite,
                         FileSystem& file_system) {
  NACRE_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::create(path, overwrite, file_system));
  NACRE_RETURN_IF_ERROR(file.write(std::as_bytes(std::span(text))));
  return file.commit();
}

Status replace_symlink(const std::string& path, const std::string& target, FileSystem& file_system) {
  NACRE_ASSIGN_OR_RETURN(const TargetPath names, split_target(path));
  NACRE_ASSIGN_OR_RETURN(const Descriptor folder, open_folder(file_system, names.folder, path));
  struct stat found {};
  if (file_system.lstat(path.c_str(), &found) == 0) {
    if (!S_ISLNK(found.st_mode))
      return Status(StatusCode::kIo, path + ": is no symlink and will not be replaced");
  } else if (errno != ENOENT) {
    return io_error(path, "look at it", errno);
  }
  int made = file_system.symlink(target.c_str(), names.temporary.c_str());
  if (made == -1 && errno == EEXIST) {
    if (file_system.unlink(names.temporary.c_str()) == -1)
      return io_error(path, "sweep " + names.temporary, errno);
    made = file_system.symlink(target.c_str(), names.temporary.c_str());
  }
  if (made == -1) return io_error(path, "create the symlink " + names.temporary, errno);
  if (file_system.rename(names.temporary.c_str(), path.c_str()) == -1) {
    const int error = errno;
    file_system.unlink(names.temporary.c_str());
    return io_error(path, "rename " + names.temporary, error);
  }
  return sync_folder(file_system, folder.get(), path);
}

}  // namespace nacre
