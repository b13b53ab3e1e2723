#include "serialize/atomic_folder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "serialize/atomic_common.h"
#include "serialize/atomic_file.h"

namespace nacre {
namespace {

/// As AtomicFile's.
constexpr int kMaxTries = 100;
/// Folders in folders that are removed; each holds a descriptor meanwhile.
constexpr size_t kMaxDepth = 16;

constexpr int kOpenFolder = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

/// Removes all that is in an open folder, without recursion. Links are not followed.
Status remove_content(FileSystem& fs, int folder, const std::string& path) {
  struct Level {
    Descriptor own;
    int fd;
    std::string name;  // in the level above
    std::vector<std::string> names;
  };
  std::vector<Level> levels;
  const auto enter = [&](Descriptor own, int fd, std::string name) {
    levels.push_back({std::move(own), fd, std::move(name), {}});
    return fs.list(fd, levels.back().names) == 0;
  };
  const auto fail = [&](std::string_view name) {
    return io_error(path, fmt::format("remove {}", name), errno);
  };
  if (!enter(Descriptor(fs, -1), folder, "")) return fail("its content");
  while (!levels.empty()) {
    Level& level = levels.back();
    if (level.names.empty()) {
      const std::string name = std::move(level.name);
      levels.pop_back();
      if (levels.empty()) return {};
      if (fs.unlinkat(levels.back().fd, name.c_str(), AT_REMOVEDIR) == -1) return fail(name);
      continue;
    }
    const std::string name = std::move(level.names.back());
    level.names.pop_back();
    if (fs.unlinkat(level.fd, name.c_str(), 0) == 0) continue;
    if (errno != EISDIR) return fail(name);
    if (levels.size() == kMaxDepth) {
      return {StatusCode::kIo, fmt::format("{}: holds folders more than {} deep", path, kMaxDepth)};
    }
    Descriptor inner(fs, retry_interrupted([&] { return fs.openat(level.fd, name.c_str(), kOpenFolder); }));
    if (inner.get() == -1) return fail(name);
    const int fd = inner.get();
    if (!enter(std::move(inner), fd, name)) return fail(name);
  }
  return {};
}

}  // namespace

struct AtomicFolder::State {
  State(FileSystem& file_system, std::string target, std::vector<std::string> allowed, TargetPath paths,
        Descriptor parent_held)
      : fs(file_system),
        path(std::move(target)),
        names(std::move(allowed)),
        temporary(std::move(paths.temporary)),
        parent(std::move(parent_held)),
        folder(file_system, -1) {}

  FileSystem& fs;
  std::string path;
  std::vector<std::string> names;
  std::string temporary;
  Descriptor parent;
  Descriptor folder;  ///< the temporary, locked
  bool overwrite = false;

  [[nodiscard]] std::string aside() const { return temporary.substr(0, temporary.size() - 4) + ".old"; }

  Status check_content(int fd, const std::string& what) {
    std::vector<std::string> found;
    if (fs.list(fd, found) == -1) return io_error(path, "list " + what, errno);
    const auto expected = [&](const std::string& name) {
      // An AtomicFile of such a name may have been left too.
      return std::ranges::any_of(
          names, [&](const std::string& known) { return name == known || name == "." + known + ".tmp"; });
    };
    const auto other = std::ranges::find_if_not(found, expected);
    if (other == found.end()) return {};
    return {StatusCode::kIo, fmt::format("{}: {} holds {}, which nacre has not written; it is not removed",
                                         path, what, *other)};
  }

  /// Opens and locks a folder that is to be removed, checked for what it holds. Without a descriptor when
  /// nothing is there.
  Result<Descriptor> hold(const std::string& name) {
    Descriptor fd(fs, retry_interrupted([&] { return fs.open(name.c_str(), kOpenFolder, 0); }));
    if (fd.get() == -1) {
      if (errno == ENOENT) return fd;
      return io_error(path, "open " + name, errno);
    }
    if (retry_interrupted([&] { return fs.flock(fd.get(), LOCK_EX | LOCK_NB); }) == -1) {
      return errno == EWOULDBLOCK ? locked_error(path) : io_error(path, "lock " + name, errno);
    }
    NACRE_RETURN_IF_ERROR(check_content(fd.get(), name));
    return fd;
  }

  Status remove(const Descriptor& held, const std::string& name) {
    NACRE_RETURN_IF_ERROR(remove_content(fs, held.get(), path));
    if (fs.rmdir(name.c_str()) == -1) return io_error(path, "remove " + name, errno);
    return {};
  }

  /// Removes what a dead process left under `name`.
  Status sweep(const std::string& name) {
    NACRE_ASSIGN_OR_RETURN(const Descriptor held, hold(name));
    if (held.get() == -1 || !is_same_file(fs, held.get(), name)) return {};
    return remove(held, name);
  }

  Status take_temporary() {
    for (int i = 0; i < kMaxTries; ++i) {
      if (fs.mkdir(temporary.c_str(), 0777) == -1) {
        if (errno != EEXIST) return io_error(path, "create " + temporary, errno);
        NACRE_RETURN_IF_ERROR(sweep(temporary));
        continue;
      }
      Descriptor fd(fs, retry_interrupted([&] { return fs.open(temporary.c_str(), kOpenFolder, 0); }));
      if (fd.get() == -1) {
        if (errno == ENOENT) continue;  // swept by another writer before it was locked
        const int error = errno;
        fs.rmdir(temporary.c_str());
        return io_error(path, "open " + temporary, error);
      }
      if (retry_interrupted([&] { return fs.flock(fd.get(), LOCK_EX | LOCK_NB); }) == -1) {
        const int error = errno;
        if (error == EWOULDBLOCK) return locked_error(path);
        fs.rmdir(temporary.c_str());
        return io_error(path, "lock " + temporary, error);
      }
      if (!is_same_file(fs, fd.get(), temporary)) continue;
      folder = std::move(fd);
      return {};
    }
    return locked_error(path);
  }

  /// The folder that is to be replaced, held; without a descriptor when nothing is there.
  Result<Descriptor> hold_target() {
    struct stat found {};
    if (fs.lstat(path.c_str(), &found) == -1) {
      if (errno == ENOENT) return Descriptor(fs, -1);
      return io_error(path, "look at it", errno);
    }
    if (!S_ISDIR(found.st_mode)) {
      return Status(StatusCode::kIo, fmt::format("{}: is a {}; expected a folder or nothing", path,
                                                 S_ISLNK(found.st_mode) ? "symlink" : "file"));
    }
    if (!overwrite) {
      return Status(StatusCode::kIo, path + ": exists already (--overwrite replaces it)");
    }
    return hold(path);
  }

  /// Drops what was written.
  void drop() {
    if (folder.get() == -1) return;
    if (remove_content(fs, folder.get(), path).ok()) fs.rmdir(temporary.c_str());
    folder = Descriptor(fs, -1);
  }

  /// Puts the new folder in the place of `old`, and says under which name the old one is now.
  Result<std::string> replace() {
    if (fs.exchange(temporary.c_str(), path.c_str()) == 0) return temporary;
    if (errno != EINVAL && errno != ENOSYS) return io_error(path, "exchange it for " + temporary, errno);
    NACRE_RETURN_IF_ERROR(sweep(aside()));
    if (fs.rename(path.c_str(), aside().c_str()) == -1)
      return io_error(path, "rename it to " + aside(), errno);
    if (fs.rename(temporary.c_str(), path.c_str()) == 0) return aside();
    const int error = errno;
    if (fs.rename(aside().c_str(), path.c_str()) == -1) {
      return Status(StatusCode::kIo,
                    fmt::format("{}: cannot rename {}; what was there is {} now", path, temporary, aside()));
    }
    return io_error(path, "rename " + temporary, error);
  }
};

AtomicFolder::AtomicFolder(std::unique_ptr<State> state) : state_(std::move(state)) {}
AtomicFolder::AtomicFolder(AtomicFolder&&) noexcept = default;
AtomicFolder& AtomicFolder::operator=(AtomicFolder&& other) noexcept {
  std::swap(state_, other.state_);
  return *this;
}
AtomicFolder::~AtomicFolder() {
  if (state_ != nullptr) state_->drop();
}

Result<AtomicFolder> AtomicFolder::create(const std::string& path, std::vector<std::string> names,
                                          bool overwrite, FileSystem& file_system) {
  std::string target = path;
  while (target.size() > 1 && target.back() == '/') target.pop_back();
  NACRE_ASSIGN_OR_RETURN(TargetPath paths, split_target(target));
  NACRE_ASSIGN_OR_RETURN(Descriptor parent, open_folder(file_system, paths.folder, target));
  AtomicFolder result(std::make_unique<State>(file_system, std::move(target), std::move(names),
                                              std::move(paths), std::move(parent)));
  result.state_->overwrite = overwrite;
  NACRE_RETURN_IF_ERROR(result.state_->take_temporary());
  NACRE_RETURN_IF_ERROR(result.state_->hold_target().status());
  return result;
}

const std::string& AtomicFolder::staging() const {
  return state_->temporary;
}

Status AtomicFolder::make_folder(const std::string& name) {
  const std::string inner = state_->temporary + "/" + name;
  if (state_->fs.mkdir(inner.c_str(), 0777) == -1) return io_error(state_->path, "create " + inner, errno);
  return {};
}

Status AtomicFolder::write_file(const std::string& name, std::string_view bytes) {
  return atomic_write_text(state_->temporary + "/" + name, bytes, false, state_->fs);
}

Status AtomicFolder::commit() {
  State& state = *state_;
  FileSystem& fs = state.fs;
  NACRE_RETURN_IF_ERROR(sync_folder(fs, state.folder.get(), state.path));
  NACRE_ASSIGN_OR_RETURN(const Descriptor old, state.hold_target());
  std::string leftover;
  if (old.get() == -1) {
    if (fs.rename(state.temporary.c_str(), state.path.c_str()) == -1) {
      return io_error(state.path, "rename " + state.temporary, errno);
    }
  } else {
    NACRE_ASSIGN_OR_RETURN(leftover, state.replace());
  }
  // From here on the new folder is there, and nothing is dropped.
  state.folder = Descriptor(fs, -1);
  Status durable = sync_folder(fs, state.parent.get(), state.path);
  if (old.get() != -1) NACRE_RETURN_IF_ERROR(state.remove(old, leftover));
  if (leftover != state.aside()) NACRE_RETURN_IF_ERROR(state.sweep(state.aside()));
  return durable;
}

}  // namespace nacre
