#pragma once

#include <optional>
#include <string>

#include "cli/run_folder.h"
#include "engine/checkpoint.h"
#include "engine/status.h"

namespace nacre {

/// A checkpoint of a run folder, read.
struct FoundCheckpoint {
  std::string path;
  Checkpoint checkpoint;
  std::string note;  ///< what the user should know when it is not simply that of `latest`
};

/// The checkpoint to go on from: that of `latest`; where this link is missing or leads nowhere, the newest
/// that can be read. Nothing when the run has none yet. A checkpoint of `latest` that cannot be read is an
/// error that names the newest one that can.
Result<std::optional<FoundCheckpoint>> find_checkpoint(const RunFolder& folder);

/// The path of the newest checkpoint that can be read, if any.
std::optional<std::string> newest_readable(const RunFolder& folder);

/// Makes `latest` and `best` the links that `train` needs where a copy of the folder has lost them or has
/// turned them into files. `state` is that of the checkpoint to go on from. Hold the folder's lock.
Status mend_links(const RunFolder& folder, const TrainingState& state);

}  // namespace nacre
