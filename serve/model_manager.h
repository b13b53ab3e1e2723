#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <thread>
#include <vector>

#include "serve/call_context.h"
#include "serve/compute_slots.h"
#include "serve/log.h"
#include "serve/metrics.h"
#include "serve/model_config.h"
#include "serve/model_entry.h"
#include "serve/rpc_status.h"
#include "serve/servable.h"
#include "serve/version_folders.h"

namespace nacre {

/// Which servable a call means: at most one of version and label.
struct ModelSelector {
  std::string name;
  std::optional<int64_t> version;
  std::string label;
};

struct VersionStatus {
  int64_t version = 0;
  VersionState state = VersionState::kUnknown;
  RpcStatus status;  ///< why it is not served, when something is wrong with it
};

/// The models: watches their base paths, loads, swaps and lets go of versions.
///
/// One thread of its own does all the loading, one version at a time; find() never waits for it. A new
/// version becomes available in one step, when it is loaded, verified and warm; only then the one that it
/// replaces is let go, and it is freed when the last call that uses it has its answer. What cannot be loaded
/// is tried again when its files have changed, and never takes the place of what can. When nothing that is
/// asked for is there, be it that folders have gone or that the configuration is wrong, what is served stays.
class ModelManager {
 public:
  struct Options {
    ServableOptions servable;
    /// Between two looks at the base paths; 0: only at start and when the configuration changes.
    std::chrono::milliseconds poll{1000};
  };

  ModelManager(const Options& options, std::shared_ptr<ComputeSlots> slots, ServeMetrics& metrics, Log log);
  ~ModelManager();
  ModelManager(const ModelManager&) = delete;
  ModelManager& operator=(const ModelManager&) = delete;

  /// Serves these models from now on, and no others: waits until every version that they ask for has been
  /// loaded or has failed. kInvalidArgument for what check_model_configs refuses; all else is applied, with
  /// kUnknown when of some model no version that it asks for is available (what was served before stays),
  /// kFailedPrecondition when a label names a version that is not (that model keeps its old labels until it
  /// is). When the call is of no use any more before it is over, kCancelled or kDeadlineExceeded: loading
  /// goes on.
  RpcStatus reload(std::vector<ModelConfig> configs, const CallContext& context = {});

  /// Looks at the base paths once, and waits until what is new has been loaded or has failed.
  void poll_now();

  /// Begins no more loads. False while one is in hand, which the destructor waits for.
  [[nodiscard]] bool stop_loading();

  /// kNotFound `Servable not found for request: Latest(NAME)` or `Specific(NAME, V)`, kInvalidArgument
  /// `Unrecognized servable version label: L`.
  [[nodiscard]] RpcResult<std::shared_ptr<const Servable>> find(const ModelSelector& selector) const;

  /// All versions that are known, highest first, or the one asked for. kNotFound `Could not find any versions
  /// of model NAME`, `Could not find version V of model NAME`.
  [[nodiscard]] RpcResult<std::vector<VersionStatus>> status(const ModelSelector& selector) const;

  /// True when every configured model has a version available, and there is at least one. Once that was so,
  /// one that has is enough: what a later configuration lacks must not take what is served from the clients.
  [[nodiscard]] bool ready() const;
  /// The configured models without a version available, such as "a, b".
  [[nodiscard]] std::string unavailable_names() const;

  /// Names of the configured models, sorted.
  [[nodiscard]] std::vector<std::string> names() const;
  /// `name`, when a model of that name is configured, else nothing: what counters may know of what clients
  /// say.
  [[nodiscard]] std::string_view known_name(std::string_view name) const;

 private:
  void run(const std::stop_token& stop);
  void refresh_all(const std::stop_token& stop);
  void refresh(const std::string& name, const std::stop_token& stop);
  bool look(const CallContext& context);
  void set_labels(const std::string& name);
  void tell_ready();
  void forget_failures(const std::string& name, const std::vector<VersionFolder>& folders);
  void note_outcome(const std::string& name, std::string fault, bool config_met);
  bool load(const std::string& name, const VersionFolder& folder);
  void unload(const std::string& name, int64_t version);
  void forget_ended();
  [[nodiscard]] RpcStatus unmet() const;
  std::optional<ModelConfig> config_of(const std::string& name) const;

  const Options options_;
  const std::shared_ptr<ComputeSlots> slots_;
  ServeMetrics& metrics_;
  const Log log_;

  mutable std::shared_mutex mutex_;
  std::map<std::string, ModelEntry, std::less<>> entries_;  // guarded by mutex_

  std::mutex work_mutex_;
  std::condition_variable_any work_;
  uint64_t asked_ = 0;      // guarded by work_mutex_: looks that were asked for
  uint64_t done_ = 0;       // guarded by work_mutex_
  bool reloading_ = false;  // guarded by work_mutex_: one reload at a time
  std::atomic<bool> loading_{false};
  std::atomic<bool> was_ready_{false};
  std::string told_ready_;  // of thread_ alone
  std::jthread thread_;
};

}  // namespace nacre
