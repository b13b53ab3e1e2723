#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/input_contract.h"
#include "engine/status.h"
#include "train/dataset.h"

namespace nacre {

/// What the options of `train` and `eval` say about data.
struct DataRequest {
  std::string data;  ///< a CSV list, a folder of IDX files, or one with a sub-folder per class
  std::string
      validation;     ///< the same; or a fraction of `data`, between 0 and 1; empty: its t10k-* files, if any
  uint64_t seed = 0;  ///< of the choice of that fraction
  std::string image_root;           ///< for CSV lists; empty: each one's own folder
  std::vector<std::string> labels;  ///< classes in the order of the outputs; empty: as the data has them
  int64_t skip_bad = 0;
  int64_t cache_mib = 1024;
  int threads = 1;
  bool has_validation = true;  ///< the command has an option for it, which a message may suggest
};

/// The number that a value of --validation is; nothing when it is a path.
std::optional<double> validation_fraction(const std::string& text);

/// Reads a file of class names, one a line (parse_labels).
Result<std::vector<std::string>> read_labels(const std::string& path);

struct TrainingData {
  std::shared_ptr<const Dataset> training;
  std::shared_ptr<const Dataset> validation;  ///< null when there is none
};

/// Opens training and validation data; the validation set has the training set's classes. A fraction is split
/// off class by class. Errors are those of Dataset; kBadData for a folder with neither IDX files nor folders
/// in it.
Result<TrainingData> open_training_data(const DataRequest& request, const InputContract& contract);

/// Opens what a model is judged by: a CSV list, a folder with a sub-folder per class, or of a folder of IDX
/// files the t10k-* ones (train-* when there are no others). `request.validation` is not used.
Result<std::shared_ptr<const Dataset>> open_evaluation_data(const DataRequest& request,
                                                            const InputContract& contract);

/// A CSV list of the images of a set, with absolute paths; empty when they are no files of their own, or
/// below a folder that no list can name (with a control character).
std::string csv_of_files(const Dataset& data);

}  // namespace nacre
