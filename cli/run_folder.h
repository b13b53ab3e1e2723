#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/status.h"

namespace nacre {

/// The files of a run folder. Knows names, and whether a config.json is of a run; no other contents.
class RunFolder {
 public:
  explicit RunFolder(std::string path);

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string config() const { return path_ + "/config.json"; }
  [[nodiscard]] std::string metrics() const { return path_ + "/metrics.jsonl"; }
  /// The images that `--validation FRACTION` held out, as a CSV list.
  [[nodiscard]] std::string validation() const { return path_ + "/validation.csv"; }
  [[nodiscard]] std::string labels() const { return path_ + "/labels.txt"; }
  /// What TensorBoard reads.
  [[nodiscard]] std::string train_events() const { return path_ + "/events/train"; }
  [[nodiscard]] std::string validation_events() const { return path_ + "/events/validation"; }
  [[nodiscard]] std::string checkpoints() const { return path_ + "/checkpoints"; }
  [[nodiscard]] std::string latest() const { return checkpoints() + "/latest"; }
  [[nodiscard]] std::string best() const { return checkpoints() + "/best"; }
  /// "step-00000120.ckpt"
  [[nodiscard]] static std::string checkpoint_name(uint64_t step);
  /// The step in such a name.
  [[nodiscard]] static std::optional<uint64_t> step_of(std::string_view name);

  /// Names of the checkpoints that are there, the newest first; kIo.
  [[nodiscard]] Result<std::vector<std::string>> checkpoint_names() const;
  /// True when `train` has written the config.json that is there.
  [[nodiscard]] bool holds_run() const;
  /// True when something of worth is there: checkpoints, or anything that `train` has not written. What a run
  /// leaves that ended before its first checkpoint is not.
  [[nodiscard]] bool occupied() const;
  /// Makes the folder, its parents and `checkpoints`; kIo.
  [[nodiscard]] Status create() const;
  /// Removes what a run has written, and nothing else; kIo.
  [[nodiscard]] Status remove_run() const;
  /// True when that would remove `file`.
  [[nodiscard]] bool would_remove(const std::string& file) const;
  /// Removes old checkpoints but for the `keep` newest ones and those that `latest` and `best` point to; kIo.
  [[nodiscard]] Status prune(int64_t keep) const;

 private:
  [[nodiscard]] std::vector<std::string> files() const;

  std::string path_;
};

}  // namespace nacre
