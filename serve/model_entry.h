#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "serve/model_config.h"
#include "serve/rpc_status.h"
#include "serve/servable.h"

namespace nacre {

/// TensorFlow Serving's numbers.
enum class VersionState : int {
  kUnknown = 0,
  kStart = 10,
  kLoading = 20,
  kAvailable = 30,
  kUnloading = 40,
  kEnd = 50
};
/// "START", "LOADING" ...
std::string_view version_state_name(VersionState state);

/// When a version that could not be loaded is tried again although its files are the same: after a second,
/// then after twice as long each time, up to a minute.
class Retry {
 public:
  /// `may_pass`: the failure was the system's, not the files'.
  void failed(bool may_pass);
  [[nodiscard]] bool is_due() const { return at_.has_value() && std::chrono::steady_clock::now() >= *at_; }

 private:
  std::chrono::seconds pause_{1};
  std::optional<std::chrono::steady_clock::time_point> at_;
};

/// What ModelManager knows of a version.
struct ModelVersion {
  VersionState state = VersionState::kStart;
  std::string path;                          ///< of the folder that it is or was made of
  std::string fingerprint;                   ///< of the files that were loaded last, or could not be
  RpcStatus status;                          ///< why not
  Retry retry;                               ///< when that may pass by itself
  std::shared_ptr<const Servable> servable;  ///< while it is available
  std::weak_ptr<const Servable> draining;    ///< after that, while calls still use it

  [[nodiscard]] VersionState state_now() const;
};

/// What ModelManager knows of a model. Guarded by its mutex.
struct ModelEntry {
  ModelConfig config;
  std::map<std::string, int64_t> wanted_labels;  ///< by the configuration; config.labels are those in force
  std::map<int64_t, ModelVersion, std::greater<>> versions;
  std::string fault;        ///< what of the configuration is not there
  bool config_met = false;  ///< a version that the configuration asks for is available

  /// True when a version is available, be it one of an earlier configuration.
  [[nodiscard]] bool available() const;
  /// "version 3 stays", "versions 4, 3 stay": those that are available.
  [[nodiscard]] std::string staying_text() const;
  /// A wanted label whose version is not available; end() when there is none.
  [[nodiscard]] std::map<std::string, int64_t>::const_iterator absent_label() const;
  /// Why the configuration is not met, in TensorFlow Serving's words.
  [[nodiscard]] std::string unmet_text() const;
};

}  // namespace nacre
