#pragma once

#include <cstdint>
#include <string>

#include "cli/run_folder.h"
#include "train/trainer.h"

namespace nacre {

/// Writes every checkpoint into the run folder, points `latest` and `best` to it, and removes old ones.
/// Killed at any instant, it leaves a folder from which --resume goes on.
class Checkpointer : public TrainObserver {
 public:
  Checkpointer(RunFolder folder, int64_t keep) : folder_(std::move(folder)), keep_(keep) {}

  Status on_checkpoint(const Checkpoint& checkpoint, bool best) override;

 private:
  RunFolder folder_;
  int64_t keep_;
};

}  // namespace nacre
