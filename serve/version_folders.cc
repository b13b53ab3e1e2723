#include "serve/version_folders.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <map>
#include <system_error>

namespace nacre {
namespace {

namespace fs = std::filesystem;

Status io_error(const std::string& path, const std::error_code& error) {
  return {StatusCode::kIo, path + ": " + error.message()};
}

}  // namespace

std::optional<int64_t> parse_version(std::string_view name) {
  int64_t version = 0;
  const char* const end = name.data() + name.size();
  // from_chars takes a minus sign, and nothing else but digits.
  if (name.starts_with('-')) return std::nullopt;
  const auto [stop, error] = std::from_chars(name.data(), end, version);
  if (error != std::errc() || stop != end) return std::nullopt;
  return version;
}

Result<std::vector<VersionFolder>> list_versions(const std::string& base_path) {
  std::map<int64_t, std::string, std::greater<>> names;
  std::error_code error;
  size_t seen = 0;
  for (fs::directory_iterator entry(base_path, error), end; !error && entry != end; entry.increment(error)) {
    if (++seen > kMaxVersionFolders) {
      return Status(StatusCode::kLimit, fmt::format("{}: holds more than {} files, expected version folders",
                                                    base_path, kMaxVersionFolders));
    }
    const std::string name = entry->path().filename().string();
    const std::optional<int64_t> version = parse_version(name);
    std::error_code ignored;
    if (!version.has_value() || !entry->is_directory(ignored)) continue;
    const auto [place, added] = names.try_emplace(*version, name);
    if (!added && name.size() < place->second.size()) place->second = name;
  }
  if (error) return io_error(base_path, error);
  std::vector<VersionFolder> folders;
  for (const auto& [version, name] : names) {
    folders.push_back({version, (fs::path(base_path) / name).string()});
  }
  return folders;
}

Result<std::string> folder_fingerprint(const std::string& folder) {
  std::vector<std::string> lines;
  std::error_code error;
  fs::recursive_directory_iterator entry(folder, error);
  for (const fs::recursive_directory_iterator end; !error && entry != end; entry.increment(error)) {
    const std::string path = entry->path().string();
    if (entry->path().filename().string().starts_with('.')) {
      entry.disable_recursion_pending();
      continue;
    }
    if (lines.size() >= kMaxVersionFiles) {
      return Status(StatusCode::kLimit,
                    fmt::format("{}: holds more than {} files", folder, kMaxVersionFiles));
    }
    struct stat facts {};
    // What has gone again counts by its name.
    if (::stat(path.c_str(), &facts) != 0) facts = {};
    lines.push_back(fmt::format("{}\t{}\t{}\t{}\t{}.{}\n", path.substr(folder.size()), facts.st_dev,
                                facts.st_ino, facts.st_size, facts.st_mtim.tv_sec, facts.st_mtim.tv_nsec));
  }
  if (error) return io_error(folder, error);
  std::ranges::sort(lines);
  std::string text;
  for (const std::string& line : lines) text += line;
  return text;
}

}  // namespace nacre
