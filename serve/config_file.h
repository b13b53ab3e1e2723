#pragma once

#include <string>
#include <vector>

#include "engine/status.h"
#include "serve/batching.h"
#include "serve/model_config.h"

namespace nacre {

// TensorFlow Serving's configuration files. Errors are those of read_text_proto, and `path: reason`
// (kBadData) for what makes no sense.

/// --model_config_file: the models of its model_config_list, checked.
Result<std::vector<ModelConfig>> read_model_configs(const std::string& path);

struct BatchingFile {
  BatchingOptions options;
  std::vector<std::string> ignored;  ///< parameters that it gives and that have no meaning here
};

/// --batching_parameters_file.
Result<BatchingFile> read_batching_file(const std::string& path);

/// --monitoring_config_file: the path of Prometheus's page; empty when it is not enabled.
Result<std::string> read_prometheus_path(const std::string& path);

}  // namespace nacre
