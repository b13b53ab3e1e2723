#include "serve/model_config.h"

#include <fmt/format.h>

#include <set>

namespace nacre {

RpcStatus check_model_configs(const std::vector<ModelConfig>& configs) {
  const auto bad = [](const ModelConfig& config, std::string_view reason) {
    return RpcStatus(RpcCode::kInvalidArgument, fmt::format("model \"{}\": {}", config.name, reason));
  };
  std::set<std::string, std::less<>> names;
  for (const ModelConfig& config : configs) {
    if (config.name.empty()) return bad(config, "has no name");
    if (config.name.find_first_of("/:") != std::string::npos) return bad(config, "its name has a '/' or ':'");
    if (!names.insert(config.name).second) return bad(config, "is configured twice");
    if (config.base_path.empty()) return bad(config, "has no base_path");
    if (const auto* latest = std::get_if<LatestVersions>(&config.policy);
        latest != nullptr && latest->count < 1) {
      return bad(config, "latest { num_versions: 0 }, expected at least 1");
    }
    if (const auto* specific = std::get_if<SpecificVersions>(&config.policy); specific != nullptr) {
      if (specific->versions.empty()) return bad(config, "specific { } names no version");
      for (const int64_t version : specific->versions) {
        if (version < 0) return bad(config, fmt::format("version {} is below 0", version));
      }
    }
    for (const auto& [label, version] : config.labels) {
      if (label.empty()) return bad(config, "a version label is empty");
      if (version < 0) return bad(config, fmt::format("label \"{}\" is for version {}", label, version));
    }
  }
  return {};
}

}  // namespace nacre
