#include "serve/model_config_proto.h"

#include <fmt/format.h>

namespace nacre {
namespace {

namespace tfs = tensorflow::serving;

VersionPolicy policy_of(const tfs::FileSystemStoragePathSourceConfig::ServableVersionPolicy& policy) {
  if (policy.has_all()) return AllVersions{};
  if (policy.has_specific())
    return SpecificVersions{{policy.specific().versions().begin(), policy.specific().versions().end()}};
  // TensorFlow Serving takes 0, which is what an unset field reads as, for 1.
  return LatestVersions{policy.latest().num_versions() == 0 ? 1 : policy.latest().num_versions()};
}

}  // namespace

RpcResult<std::vector<ModelConfig>> model_configs_of(const tfs::ModelServerConfig& config) {
  if (!config.has_model_config_list()) {
    return RpcStatus(RpcCode::kInvalidArgument,
                     "ServerModelConfig type not supported: expected a model_config_list");
  }
  std::vector<ModelConfig> configs;
  for (const tfs::ModelConfig& model : config.model_config_list().config()) {
    if (model.model_type() == tfs::OTHER ||
        (!model.model_platform().empty() && model.model_platform() != "tensorflow")) {
      return RpcStatus(RpcCode::kInvalidArgument,
                       fmt::format("model \"{}\": expected model_platform \"tensorflow\", found \"{}\"",
                                   model.name(), model.model_platform()));
    }
    ModelConfig& added = configs.emplace_back();
    added.name = model.name();
    added.base_path = model.base_path();
    added.policy = policy_of(model.model_version_policy());
    added.labels.insert(model.version_labels().begin(), model.version_labels().end());
  }
  return configs;
}

}  // namespace nacre
