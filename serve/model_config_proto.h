#pragma once

#include <vector>

#include "schemas/tensorflow/server_config.pb.h"
#include "serve/model_config.h"
#include "serve/rpc_status.h"

namespace nacre {

/// The models of a `model_config_list`, as --model_config_file and HandleReloadConfigRequest give them.
/// kInvalidArgument for a custom_model_config or none, and for a model_platform or model_type that is not
/// TensorFlow's. Whether the models make sense is left to check_model_configs.
RpcResult<std::vector<ModelConfig>> model_configs_of(const tensorflow::serving::ModelServerConfig& config);

}  // namespace nacre
