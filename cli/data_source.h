#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/input_contract.h"
#include "engine/status.h"
#include "train/dataset.h"

namespace nacre {

/// What the options of `train` and `eval` say about data.
struct DataRequest {
  std::string data;                 ///< a CSV list, or a folder of IDX files
  std::string validation;           ///< the same; empty: the t10k-* files of `data`, if any
  std::string image_root;           ///< for CSV lists; empty: each one's own folder
  std::vector<std::string> labels;  ///< classes in the order of the outputs; empty: as the data has them
  int64_t skip_bad = 0;
  int64_t cache_mib = 1024;
  int threads = 1;
};

struct TrainingData {
  std::shared_ptr<const Dataset> training;
  std::shared_ptr<const Dataset> validation;  ///< null when there is none
};

/// Opens training and validation data; the validation set has the training set's classes. Errors are those of
/// Dataset; kBadData for a folder without IDX files.
Result<TrainingData> open_training_data(const DataRequest& request, const InputContract& contract);

/// Opens what a model is judged by: a CSV list, or of a folder of IDX files the t10k-* ones (train-* when
/// there are no others). `request.validation` is not used.
Result<std::shared_ptr<const Dataset>> open_evaluation_data(const DataRequest& request,
                                                            const InputContract& contract);

}  // namespace nacre
