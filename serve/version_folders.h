#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/status.h"

namespace nacre {

/// Bounds on what is read of a base path.
inline constexpr size_t kMaxVersionFolders = 65536;
inline constexpr size_t kMaxVersionFiles = 4096;

struct VersionFolder {
  int64_t version = 0;
  std::string path;

  [[nodiscard]] bool operator==(const VersionFolder&) const = default;
};

/// The version that a folder's name stands for: decimal digits, at most 2^63 - 1; leading zeros are allowed,
/// as TensorFlow allows them.
std::optional<int64_t> parse_version(std::string_view name);

/// The version folders right in `base_path`, highest version first. What has another name or is no folder is
/// no version; of two names for one version (`1` and `01`) the shorter counts. Errors are `path: reason`:
/// kIo, kLimit.
Result<std::vector<VersionFolder>> list_versions(const std::string& base_path);

/// A text that changes whenever a file in the folder or below it is added, removed, resized, replaced or
/// written to; hidden ones do not count. Errors are `path: reason`: kIo, kLimit.
Result<std::string> folder_fingerprint(const std::string& folder);

}  // namespace nacre
