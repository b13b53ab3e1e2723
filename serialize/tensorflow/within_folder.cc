#include "serialize/tensorflow/within_folder.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>

namespace nacre {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxNames = 100000;

Status refused(const std::string& path, const std::error_code& error) {
  return {StatusCode::kIo, fmt::format("{}: {}", path, error.message())};
}

/// Whether all names of a file that has several are found below `folder`. Links to folders are not followed.
Result<bool> has_all_names_below(const struct stat& file, const fs::path& folder) {
  nlink_t left = file.st_nlink;
  size_t names = 0;
  std::error_code error;
  fs::recursive_directory_iterator entry(folder, fs::directory_options::skip_permission_denied, error);
  while (!error && entry != fs::recursive_directory_iterator()) {
    if (++names > kMaxNames) {
      return Status(StatusCode::kLimit,
                    fmt::format("is a hard link, and its folder holds more than {} names to "
                                "look for the others among",
                                kMaxNames));
    }
    struct stat info {};
    if (::lstat(entry->path().c_str(), &info) == 0 && info.st_dev == file.st_dev &&
        info.st_ino == file.st_ino && --left == 0) {
      return true;
    }
    entry.increment(error);
  }
  if (error) return refused(folder.string(), error);
  return false;
}

}  // namespace

Status check_within_folder(const std::string& path, const std::string& root) {
  std::error_code error;
  const fs::path folder = fs::canonical(root.empty() ? fs::path(".") : fs::path(root), error);
  if (error) return refused(root, error);
  const fs::path file = fs::canonical(path, error);
  if (error == std::errc::no_such_file_or_directory || error == std::errc::not_a_directory) return {};
  if (error) return refused(path, error);
  if (std::ranges::mismatch(folder, file).in1 != folder.end()) {
    return {StatusCode::kCorrupt,
            fmt::format("{}: is a link that leads out of its folder, to {}", path, file.string())};
  }
  struct stat info {};
  if (::stat(file.c_str(), &info) != 0) return refused(path, {errno, std::generic_category()});
  if (!S_ISREG(info.st_mode) || info.st_nlink <= 1) return {};
  const Result<bool> all_below = has_all_names_below(info, folder);
  if (!all_below.ok()) return all_below.status().at(path);
  if (*all_below) return {};
  return {StatusCode::kCorrupt, path + ": is a hard link to a file outside its folder"};
}

}  // namespace nacre
