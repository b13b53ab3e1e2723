#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "engine/status.h"
#include "serialize/file_system.h"

namespace nacre {

/// A file that appears whole or not at all, whatever happens meanwhile (a full disk, SIGKILL, a power cut).
///
/// The bytes go to a temporary file `.NAME.tmp` in the same folder, created with O_EXCL and locked with flock
/// for as long as it is written: that lock is what keeps a second writer of the same NAME out. commit() then
/// does fsync, close, rename and fsync of the folder. A temporary without a lock was left by a process that
/// died and is swept by the next writer. A failed fsync is never tried again, since the kernel may have
/// dropped the pages that it could not write.
///
/// Errors are `path: reason`: kLocked when another process is writing the same file; kIo for all else that
/// the operating system refuses, and for a target that exists (unless `overwrite`), that is a symlink, or
/// that is no regular file. Nothing is left behind after an error, and the target is as it was; the one
/// exception is a failure to fsync the folder after the rename, when the new file is there, whole, but might
/// not outlast a power cut.
class AtomicFile {
 public:
  /// `file_system` must outlive the result.
  static Result<AtomicFile> create(const std::string& path, bool overwrite,
                                   FileSystem& file_system = real_file_system());
  AtomicFile(AtomicFile&&) noexcept;
  AtomicFile& operator=(AtomicFile&&) noexcept;
  /// Drops the temporary unless commit() succeeded.
  ~AtomicFile();

  /// Appends. After an error the file can only be dropped.
  Status write(std::span<const std::byte> bytes);
  /// Makes the file visible under its name. Call once, last.
  Status commit();

 private:
  struct State;
  explicit AtomicFile(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// Writes a small text file (config.json, labels.txt) through AtomicFile.
Status atomic_write_text(const std::string& path, std::string_view text, bool overwrite = true,
                         FileSystem& file_system = real_file_system());

/// Makes the symlink `path` point to `target` (relative to the folder of `path`, as symlink(2) has it); at
/// any instant `path` is the old link or the new one. Refuses (kIo) to replace what is not a symlink. Calls
/// for one `path` must not overlap: a run folder's are guarded by its RunLock.
Status replace_symlink(const std::string& path, const std::string& target,
                       FileSystem& file_system = real_file_system());

/// Holds a run folder for one training: an flock on its file `.lock`, which says the owner's process id and
/// stays there afterwards. The lock goes with the object, or with the process however that ends.
class RunLock {
 public:
  /// kLocked, naming the process, when another one (or another RunLock of this one) holds the folder; kIo
  /// when the folder is not there or cannot be written.
  static Result<RunLock> acquire(const std::string& folder);
  RunLock(RunLock&& other) noexcept;
  RunLock& operator=(RunLock&& other) noexcept;
  ~RunLock();

 private:
  explicit RunLock(int fd) : fd_(fd) {}
  int fd_;
};

}  // namespace nacre
