#include "cli/output_file.h"

#include <fmt/format.h>

#include <filesystem>
#include <system_error>

namespace nacre {

Status make_parents(const std::string& path) {
  const std::filesystem::path parent = std::filesystem::path(path).parent_path();
  if (parent.empty()) return {};
  std::error_code error;
  std::filesystem::create_directories(parent, error);
  return error ? Status(StatusCode::kIo, parent.string() + ": " + error.message()) : Status();
}

Status check_not_there(const std::string& path) {
  std::error_code none;
  if (!std::filesystem::is_regular_file(std::filesystem::symlink_status(path, none))) return {};
  return {StatusCode::kIo, path + ": exists already (--overwrite replaces it)"};
}

std::string readable_size(uint64_t bytes) {
  const auto number = static_cast<double>(bytes);
  if (bytes < 1024) return fmt::format("{} bytes", bytes);
  if (bytes < 1 << 20) return fmt::format("{:.1f} KiB", number / 1024);
  return fmt::format("{:.1f} MiB", number / (1 << 20));
}

}  // namespace nacre
