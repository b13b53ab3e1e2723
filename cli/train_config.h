#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/session.h"
#include "cli/train_options.h"
#include "engine/status.h"
#include "layers/model_file.h"

namespace nacre {

/// What a config.json, or a file of --config, says: train's options but for switches, and the keys
/// "nacre_version", "labels" (class names), "validation_digest" (of a run) and "model" (a preset, a file's
/// path, or the model itself).
struct TrainConfig {
  std::string path;
  GivenOptions options;
  std::optional<std::string> model;  ///< JSON text, when it is the model itself
  std::vector<std::string> labels;
  std::string validation_digest;  ///< of the images that the run's best accuracy was measured by; or empty
};

/// Reads such a file. kIo when it cannot be read, kBadData `path: reason` for what it should not hold.
Result<TrainConfig> read_train_config(const std::string& path);

/// The options that a model file recommends; `where` is the file. kBadData for what no recipe may hold.
Result<GivenOptions> recipe_options(const ModelDescription& model, const std::string& where);

/// All that the command line, the files it names and the model's recipe settle together.
struct TrainSetup {
  TrainSettings settings;
  ModelDescription model;
  std::string model_origin;         ///< where it stands, for messages: a preset's name, a file
  std::vector<std::string> labels;  ///< empty: as the data has them
  std::string validation_digest;    ///< set when the data is open; empty: none
};

/// Puts together, the later over the earlier: defaults, the model's recipe, `run` (the config.json of the run
/// to be resumed, if any), the file of --config, and the command line. kUsage when model, data or out are not
/// said.
Result<TrainSetup> settle_train_setup(const Session& session, const GivenOptions& command_line,
                                      const std::optional<TrainConfig>& run);

/// The text of config.json: all that is needed to repeat the run. Paths are made absolute.
std::string config_text(const TrainSetup& setup);

}  // namespace nacre
