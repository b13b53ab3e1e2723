#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/run_folder.h"
#include "cli/session.h"
#include "cli/train_config.h"
#include "engine/checkpoint.h"
#include "engine/plan.h"
#include "engine/status.h"
#include "train/dataset.h"
#include "train/trainer.h"

namespace nacre {

/// What a run is made ready with.
struct RunStart {
  const TrainSetup& setup;
  const TrainOptions& options;
  const Plan& plan;  ///< for training
  const std::shared_ptr<const Dataset>& data;
};

/// A checkpoint of step 0: initial variables.
Checkpoint first_checkpoint(const RunStart& start);

/// Makes `checkpoint`, just read from `path`, ready to go on from, and returns what the user should know, a
/// line each. kBadData when its variables are not those of the network (listing the first ones), or when data
/// (of training or validation) or options on which the weights depend have changed (naming them), unless
/// --force; a best accuracy that is of other images is then forgotten. `before` is the run's config.json, if
/// it is there.
Result<std::vector<std::string>> adapt_checkpoint(const Session& session, const RunStart& start,
                                                  const std::optional<TrainConfig>& before,
                                                  const std::string& path, Checkpoint& checkpoint);

}  // namespace nacre
