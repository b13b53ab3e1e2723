#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "serve/rpc_status.h"

namespace nacre {

/// Which of a model's versions are served.
struct LatestVersions {
  uint32_t count = 1;  ///< the highest that can be loaded, at least 1
  [[nodiscard]] bool operator==(const LatestVersions&) const = default;
};
struct AllVersions {
  [[nodiscard]] bool operator==(const AllVersions&) const = default;
};
struct SpecificVersions {
  std::vector<int64_t> versions;
  [[nodiscard]] bool operator==(const SpecificVersions&) const = default;
};
using VersionPolicy = std::variant<LatestVersions, AllVersions, SpecificVersions>;

/// A model to serve, as `model_config_list { config { ... } }` has it.
struct ModelConfig {
  std::string name;
  std::string base_path;  ///< a folder of version folders
  VersionPolicy policy = LatestVersions{};
  std::map<std::string, int64_t> labels;

  [[nodiscard]] bool operator==(const ModelConfig&) const = default;
};

/// kInvalidArgument unless every model has a name of its own without '/' and ':' and a base path, and its
/// policy and labels make sense.
RpcStatus check_model_configs(const std::vector<ModelConfig>& configs);

}  // namespace nacre
