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

/// --batching_parameters_file. What says how threads and padding are organised inside TensorFlow is passed
/// over.
Result<BatchingOptions> read_batching_options(const std::string& path);

/// --monitoring_config_file: the path of Prometheus's page; empty when it is not enabled.
Result<std::string> read_prometheus_path(const std::string& path);

}  // namespace nacre
