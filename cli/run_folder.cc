#include "cli/run_folder.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <set>
#include <system_error>

#include "engine/file.h"
#include "layers/strict_json.h"
#include "serialize/tensorflow/event_writer.h"

namespace nacre {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "step-";
constexpr std::string_view kSuffix = ".ckpt";

Status io_error(const std::string& path, const std::error_code& error) {
  return {StatusCode::kIo, path + ": " + error.message()};
}

/// Names of the entries of a folder; none when it is not there.
Result<std::vector<std::string>> names_in(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    names.push_back(entry->path().filename().string());
  }
  if (error && error != std::errc::no_such_file_or_directory) return io_error(folder, error);
  return names;
}

Status remove_file(const std::string& path) {
  std::error_code error;
  fs::remove(path, error);
  return error ? io_error(path, error) : Status();
}

}  // namespace

RunFolder::RunFolder(std::string path) : path_(std::move(path)) {
  while (path_.size() > 1 && path_.back() == '/') path_.pop_back();
}

std::string RunFolder::checkpoint_name(uint64_t step) {
  return fmt::format("{}{:08}{}", kPrefix, step, kSuffix);
}

std::optional<uint64_t> RunFolder::step_of(std::string_view name) {
  if (!name.starts_with(kPrefix) || !name.ends_with(kSuffix)) return std::nullopt;
  name.remove_prefix(kPrefix.size());
  name.remove_suffix(std::min(name.size(), kSuffix.size()));
  uint64_t step = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), step);
  if (error != std::errc() || end != name.data() + name.size()) return std::nullopt;
  return step;
}

Result<std::vector<std::string>> RunFolder::checkpoint_names() const {
  NACRE_ASSIGN_OR_RETURN(std::vector<std::string> names, names_in(checkpoints()));
  std::erase_if(names, [](const std::string& name) { return !step_of(name).has_value(); });
  std::sort(names.begin(), names.end(),
            [](const std::string& a, const std::string& b) { return *step_of(a) > *step_of(b); });
  return names;
}

bool RunFolder::holds_run() const {
  const Result<std::vector<std::byte>> bytes = read_file(config(), kMaxJsonBytes);
  if (!bytes.ok()) return false;
  const auto json =
      parse_strict_json({reinterpret_cast<const char*>(bytes->data()), bytes->size()}, config());
  return json.ok() && json->is_object() && json->contains("nacre_version");
}

bool RunFolder::occupied() const {
  std::error_code error;
  const fs::file_status status = fs::symlink_status(path_, error);
  if (!fs::exists(status)) return false;
  std::set<std::string, std::less<>> worthless = {".lock", "checkpoints", "events"};
  // Of these a run writes config.json first: without it they are somebody else's, as another config.json is.
  if (holds_run()) worthless.insert({"config.json", "metrics.jsonl", "labels.txt", "validation.csv"});
  // A killed run may leave the temporary of the file that it was writing (AtomicFile's name for it).
  const auto is_temporary = [](std::string_view name) {
    return name.starts_with('.') && name.ends_with(".tmp");
  };
  const Result<std::vector<std::string>> names = names_in(path_);
  const Result<std::vector<std::string>> inner = names_in(checkpoints());
  return !names.ok() || !inner.ok() || !std::all_of(inner->begin(), inner->end(), is_temporary) ||
         !std::all_of(names->begin(), names->end(), [&](const std::string& name) {
           return worthless.contains(name) || is_temporary(name);
         });
}

Status RunFolder::create() const {
  std::error_code error;
  fs::create_directories(checkpoints(), error);
  return error ? io_error(checkpoints(), error) : Status();
}

std::vector<std::string> RunFolder::files() const {
  return {latest(), best(), metrics(), validation(), labels(), config()};
}

bool RunFolder::would_remove(const std::string& file) const {
  const std::vector<std::string> removed = files();
  return std::any_of(removed.begin(), removed.end(), [&](const std::string& own) {
    std::error_code error;  // of what is not there
    return fs::equivalent(file, own, error) && !error;
  });
}

Status RunFolder::remove_run() const {
  // The links go first: at no moment does one point to what is gone.
  for (const std::string& file : files()) NACRE_RETURN_IF_ERROR(remove_file(file));
  const auto remove_those = [](const std::string& folder, const auto& ours) -> Status {
    NACRE_ASSIGN_OR_RETURN(const std::vector<std::string> names, names_in(folder));
    for (const std::string& name : names) {
      if (ours(name)) NACRE_RETURN_IF_ERROR(remove_file(folder + "/" + name));
    }
    return {};
  };
  for (const std::string& folder : {train_events(), validation_events()}) {
    NACRE_RETURN_IF_ERROR(
        remove_those(folder, [](const std::string& name) { return name.starts_with(kEventFilePrefix); }));
  }
  return remove_those(checkpoints(), [](const std::string& name) { return step_of(name).has_value(); });
}

Status RunFolder::prune(int64_t keep) const {
  std::set<std::string> linked;
  for (const std::string& link : {latest(), best()}) {
    std::error_code none;
    linked.insert(fs::read_symlink(link, none).filename().string());
  }
  NACRE_ASSIGN_OR_RETURN(const std::vector<std::string> newest_first, checkpoint_names());
  int64_t kept = 0;
  for (const std::string& name : newest_first) {
    if (kept++ < keep || linked.contains(name)) continue;
    NACRE_RETURN_IF_ERROR(remove_file(checkpoints() + "/" + name));
  }
  return {};
}

}  // namespace nacre
