#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "engine/status.h"
#include "serialize/append_file.h"
#include "train/trainer.h"

namespace nacre {

/// The line of metrics.jsonl for a step: a JSON object with step and epoch (both from 1), loss, accuracy,
/// images_per_second and, after a validation, validation_loss and validation_accuracy; ends in a newline.
std::string metrics_line(const StepReport& report);

/// Writes metrics.jsonl, a line a step. What was reported before a checkpoint is in the file before it.
class MetricsLog : public TrainObserver {
 public:
  /// Opens the file to go on after step `step`: later lines, and a last one that is not whole, are cut off.
  /// kIo `path: reason`.
  static Result<std::unique_ptr<MetricsLog>> open(const std::string& path, uint64_t step);

  Status on_step(const StepReport& report) override;
  Status on_checkpoint(const Checkpoint& checkpoint, bool best) override;

 private:
  explicit MetricsLog(AppendFile file) : file_(std::move(file)) {}

  AppendFile file_;
};

}  // namespace nacre
