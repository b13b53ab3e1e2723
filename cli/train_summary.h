#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/data_source.h"
#include "cli/run_folder.h"
#include "cli/train_config.h"
#include "engine/checkpoint.h"
#include "train/trainer.h"

namespace nacre {

/// What the user should know of the data before training: images and classes, their sizes and what becomes of
/// them, how they were split, what was left out and what is odd; a line each.
std::vector<std::string> describe_data(const TrainSettings& settings, const TrainingData& data);

/// "training face96 on 520 images of 40 classes, 130 images for validation; 60 steps of 100 images, 2
/// threads"
std::string describe_start(const TrainSetup& setup, const TrainOptions& options, const TrainingData& data,
                           uint64_t step);

/// How it went and what to do next, some lines. `first_step`: where this process began.
std::string describe_end(const RunFolder& folder, const TrainSetup& setup, const TrainOptions& options,
                         const TrainingData& data, const TrainResult& result, const TrainingState& state,
                         uint64_t first_step);

}  // namespace nacre
