#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "serve/model_manager.h"

namespace nacre {

// What ModelManager has of a model, for its own files.

struct ModelManager::Version {
  VersionState state = VersionState::kStart;
  std::string path;                          ///< of the folder that it is or was made of
  std::string fingerprint;                   ///< of the files that could not be loaded
  RpcStatus status;                          ///< why not
  std::shared_ptr<const Servable> servable;  ///< while it is available
  std::weak_ptr<const Servable> draining;    ///< after that, while calls still use it

  [[nodiscard]] VersionState state_now() const {
    return state == VersionState::kUnloading && draining.expired() ? VersionState::kEnd : state;
  }
};

struct ModelManager::Entry {
  ModelConfig config;
  std::map<std::string, int64_t> wanted_labels;  ///< by the configuration; config.labels are those in force
  std::map<int64_t, Version, std::greater<>> versions;
  std::string fault;  ///< why its base path could not be read

  /// A wanted label whose version is not available; end() when there is none.
  [[nodiscard]] std::map<std::string, int64_t>::const_iterator absent_label() const {
    return std::ranges::find_if(wanted_labels, [&](const auto& label) {
      const auto version = versions.find(label.second);
      return version == versions.end() || version->second.servable == nullptr;
    });
  }
};

}  // namespace nacre
