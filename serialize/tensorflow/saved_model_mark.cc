#include "serialize/tensorflow/saved_model_mark.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/file.h"
#include "serialize/checksum.h"
#include "serialize/tensorflow/saved_model_file.h"
#include "serialize/tensorflow/saved_model_graph.h"
#include "serialize/tensorflow/tensor_bundle_format.h"
#include "serialize/tensorflow/warmup_records.h"

namespace nacre {
namespace {

namespace fs = std::filesystem;

constexpr int kMarkVersion = 1;
constexpr size_t kMaxMarkBytes = size_t{1} << 16;
constexpr std::string_view kOpening = "{\n  \"nacre_saved_model\": ";

/// All that nacre writes, from the folder on, sorted; those that a model has not are left out of its mark.
std::vector<std::string> marked_files() {
  const std::string variables = saved_model_variables("");
  std::vector<std::string> names{
      fmt::format("assets/{}", kLabelsAsset), fmt::format("{}/{}", kExtraFolder, kWarmupFile),
      "saved_model.pb", bundle_index_path(variables).substr(1), bundle_shard_path(variables, 0, 1).substr(1)};
  std::ranges::sort(names);
  return names;
}

Result<std::string> sha256_of(const std::string& path) {
  NACRE_ASSIGN_OR_RETURN(const auto file, MappedFile::open(path));
  Sha256 sha;
  sha.update(file->bytes());
  std::string text;
  for (const std::byte byte : sha.finish()) text += fmt::format("{:02x}", static_cast<unsigned>(byte));
  return text;
}

/// Of the files that are there: name and the line of the mark.
Result<std::vector<std::pair<std::string, std::string>>> lines_of(const std::string& folder) {
  std::vector<std::pair<std::string, std::string>> lines;
  for (const std::string& name : marked_files()) {
    const std::string path = folder + "/" + name;
    std::error_code error;
    if (!fs::exists(fs::symlink_status(path, error))) continue;
    NACRE_ASSIGN_OR_RETURN(const std::string digest, sha256_of(path));
    lines.emplace_back(name, fmt::format("    \"{}\": \"{}\"", name, digest));
  }
  return lines;
}

Status corrupt(const std::string& path, const std::string& reason) {
  return {StatusCode::kCorrupt, path + ": " + reason};
}

}  // namespace

Result<std::string> saved_model_mark(const std::string& folder) {
  NACRE_ASSIGN_OR_RETURN(const auto lines, lines_of(folder));
  std::string text = fmt::format("{}{},\n  \"sha256\": {{", kOpening, kMarkVersion);
  for (const auto& [name, line] : lines) text += (text.back() == '{' ? "\n" : ",\n") + line;
  return text + "\n  }\n}\n";
}

Result<bool> check_saved_model_mark(const std::string& folder) {
  const std::string path = fmt::format("{}/{}/{}", folder, kExtraFolder, kMarkFile);
  std::error_code error;
  if (!fs::exists(fs::symlink_status(path, error))) return false;
  NACRE_ASSIGN_OR_RETURN(const std::vector<std::byte> bytes, read_file(path, kMaxMarkBytes));
  const std::string_view mark(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  int version = 0;
  if (mark.starts_with(kOpening)) {
    std::from_chars(mark.data() + kOpening.size(), mark.data() + mark.size(), version);
  }
  if (version > kMarkVersion) {
    return Status(StatusCode::kUnsupported,
                  fmt::format("{}: of version {}, this nacre knows {}", path, version, kMarkVersion));
  }
  NACRE_ASSIGN_OR_RETURN(const std::string expected, saved_model_mark(folder));
  if (mark == expected) return true;
  NACRE_ASSIGN_OR_RETURN(const auto lines, lines_of(folder));
  for (const auto& [name, line] : lines) {
    if (mark.find(line) == std::string_view::npos) {
      return corrupt(folder + "/" + name, "its SHA-256 is not the one that nacre wrote it with");
    }
  }
  for (const std::string& name : marked_files()) {
    const bool there = std::ranges::any_of(lines, [&](const auto& line) { return line.first == name; });
    if (!there && mark.find("\"" + name + "\"") != std::string_view::npos) {
      return corrupt(folder + "/" + name, "is missing, and was there when nacre wrote the folder");
    }
  }
  return corrupt(path, "is damaged");
}

}  // namespace nacre
