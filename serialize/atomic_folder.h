#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/status.h"
#include "serialize/file_system.h"

namespace nacre {

/// A folder that appears whole or not at all, whatever happens meanwhile, as AtomicFile is for files.
///
/// Files go into a hidden folder `.NAME.tmp` beside the target, locked with flock for as long as it is
/// written. commit() makes it durable and renames it. A folder that is there already (with `overwrite`)
/// changes places with the new one in one step; where the file system cannot do that (RENAME_EXCHANGE), it is
/// renamed to `.NAME.old` before and removed after. What a process that died has left is swept by the next
/// writer.
///
/// Only what `names` lists is ever removed: a folder that holds anything else is refused, be it the target or
/// a leftover. Links are removed, never followed.
///
/// Errors are `path: reason`, with path as it was given: kLocked when another process is writing the same
/// folder; kIo for all else that the operating system refuses, and for a target that exists (unless
/// `overwrite`), that is a symlink or no folder, or that holds other names. Nothing is left behind after an
/// error, and the target is as it was. The exceptions: an error after the rename, when the new folder is
/// there, whole; and without RENAME_EXCHANGE, a rename that fails and cannot be undone, when the old one is
/// `.NAME.old`.
class AtomicFolder {
 public:
  /// `names` are those that files and folders directly in it may have. `file_system` must outlive the result.
  static Result<AtomicFolder> create(const std::string& path, std::vector<std::string> names, bool overwrite,
                                     FileSystem& file_system = real_file_system());
  AtomicFolder(AtomicFolder&&) noexcept;
  AtomicFolder& operator=(AtomicFolder&&) noexcept;
  /// Drops what was written unless commit() succeeded.
  ~AtomicFolder();

  /// Where the files go until commit(). They are to be written with AtomicFile, which makes them durable,
  /// into the folder itself or one of make_folder.
  [[nodiscard]] const std::string& staging() const;
  /// Makes the folder staging()/name.
  Status make_folder(const std::string& name);
  /// Writes the file staging()/name; `name` may begin with a folder of make_folder.
  Status write_file(const std::string& name, std::string_view bytes);
  /// Makes the folder visible under its name. Call once, last.
  Status commit();

 private:
  struct State;
  explicit AtomicFolder(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace nacre
