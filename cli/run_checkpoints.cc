#include "cli/run_checkpoints.h"

#include <filesystem>
#include <utility>
#include <vector>

#include "serialize/atomic_file.h"
#include "serialize/checkpoint_file.h"

namespace nacre {
namespace {

namespace fs = std::filesystem;

/// Points `link` to the checkpoint of `step` unless it leads to a checkpoint already. A file in its place is
/// what a copy that follows links makes of one.
Status mend_link(const RunFolder& folder, const std::string& link, uint64_t step) {
  std::error_code none;
  if (fs::is_symlink(fs::symlink_status(link, none)) && fs::exists(link, none)) return {};
  std::string name = RunFolder::checkpoint_name(step);
  if (fs::is_regular_file(fs::symlink_status(link, none))) {
    NACRE_ASSIGN_OR_RETURN(const Checkpoint copy, read_checkpoint(link));
    name = RunFolder::checkpoint_name(copy.state.step);
    std::error_code error;
    fs::rename(link, folder.checkpoints() + "/" + name, error);
    if (error) return {StatusCode::kIo, link + ": cannot be renamed to " + name + ": " + error.message()};
  }
  // The best one may be gone with its link.
  if (!fs::exists(folder.checkpoints() + "/" + name, none)) return {};
  return replace_symlink(link, name);
}

}  // namespace

std::optional<std::string> newest_readable(const RunFolder& folder) {
  const Result<std::vector<std::string>> names = folder.checkpoint_names();
  if (!names.ok()) return std::nullopt;
  for (const std::string& name : *names) {
    const std::string path = folder.checkpoints() + "/" + name;
    if (read_checkpoint(path).ok()) return path;
  }
  return std::nullopt;
}

Result<std::optional<FoundCheckpoint>> find_checkpoint(const RunFolder& folder) {
  std::error_code error;
  FoundCheckpoint found;
  if (fs::status(folder.latest(), error).type() != fs::file_type::not_found) {
    found.path = folder.latest();
    Result<Checkpoint> latest = read_checkpoint(found.path);
    if (!latest.ok()) {
      const std::optional<std::string> other = newest_readable(folder);
      return Status(latest.status().code(),
                    latest.status().message() +
                        (other.has_value() ? "; without the link latest, --resume would go on from " +
                                                 *other + ", the newest checkpoint that can be read"
                                           : ""));
    }
    found.checkpoint = std::move(latest).value();
    return std::optional<FoundCheckpoint>(std::move(found));
  }
  NACRE_ASSIGN_OR_RETURN(const std::vector<std::string> names, folder.checkpoint_names());
  if (names.empty()) return std::optional<FoundCheckpoint>();
  // Where none can be read, the newest says why.
  found.path = newest_readable(folder).value_or(folder.checkpoints() + "/" + names.front());
  NACRE_ASSIGN_OR_RETURN(found.checkpoint, read_checkpoint(found.path));
  found.note = folder.latest() + ": leads to no checkpoint; going on from the newest that can be read, " +
               fs::path(found.path).filename().string();
  return std::optional<FoundCheckpoint>(std::move(found));
}

Status mend_links(const RunFolder& folder, const TrainingState& state) {
  // `best` before `latest`, as when they are made.
  NACRE_RETURN_IF_ERROR(mend_link(folder, folder.best(), state.best_step));
  return mend_link(folder, folder.latest(), state.step);
}

}  // namespace nacre
