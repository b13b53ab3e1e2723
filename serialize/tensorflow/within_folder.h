#pragma once

#include <string>

#include "engine/status.h"

namespace nacre {

/// Where a tensor bundle lies.
struct BundlePath {
  std::string prefix;
  /// The folder that its files must not lead out of; empty: that of the prefix.
  std::string root{};
};

/// Refuses to read `path` when it lies outside of the folder `root` (which may itself be reached by a link):
/// when a symlink on its way leads out, or when it has other names, by hard links, that are not found below
/// `root`. A file that is not there is for its reader to complain about. Errors are `path: reason`: kCorrupt;
/// kLimit when there are more than 100,000 names to look through; kIo.
Status check_within_folder(const std::string& path, const std::string& root);

}  // namespace nacre
