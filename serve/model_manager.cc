#include "serve/model_manager.h"

#include <fmt/format.h>
#include <malloc.h>

#include <algorithm>
#include <set>
#include <utility>

namespace nacre {
namespace {

/// Versions without a use that the status of a model still lists.
constexpr size_t kMaxEndedVersions = 16;

RpcStatus not_found(const ModelSelector& selector, std::optional<int64_t> version) {
  return {RpcCode::kNotFound,
          version.has_value()
              ? fmt::format("Servable not found for request: Specific({}, {})", selector.name, *version)
              : fmt::format("Servable not found for request: Latest({})", selector.name)};
}

}  // namespace

std::string_view version_state_name(VersionState state) {
  switch (state) {
    case VersionState::kUnknown:
      return "UNKNOWN";
    case VersionState::kStart:
      return "START";
    case VersionState::kLoading:
      return "LOADING";
    case VersionState::kAvailable:
      return "AVAILABLE";
    case VersionState::kUnloading:
      return "UNLOADING";
    case VersionState::kEnd:
      return "END";
  }
  return "UNKNOWN";
}

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

ModelManager::ModelManager(const Options& options, std::shared_ptr<ComputeSlots> slots, ServeMetrics& metrics,
                           Log log)
    : options_(options),
      slots_(std::move(slots)),
      metrics_(metrics),
      log_(std::move(log)),
      thread_([this](const std::stop_token& stop) { run(stop); }) {}

ModelManager::~ModelManager() {
  thread_.request_stop();
  thread_.join();
}

RpcResult<std::shared_ptr<const Servable>> ModelManager::find(const ModelSelector& selector) const {
  const std::shared_lock lock(mutex_);
  const auto entry = entries_.find(selector.name);
  std::optional<int64_t> wanted = selector.version;
  if (entry == entries_.end()) return not_found(selector, wanted);
  if (!selector.label.empty()) {
    const auto label = entry->second.config.labels.find(selector.label);
    if (label == entry->second.config.labels.end()) {
      return RpcStatus(RpcCode::kInvalidArgument, "Unrecognized servable version label: " + selector.label);
    }
    wanted = label->second;
  }
  for (const auto& [number, version] : entry->second.versions) {
    if (version.servable != nullptr && (!wanted.has_value() || *wanted == number)) return version.servable;
  }
  return not_found(selector, wanted);
}

RpcResult<std::vector<VersionStatus>> ModelManager::status(const ModelSelector& selector) const {
  const std::shared_lock lock(mutex_);
  const auto entry = entries_.find(selector.name);
  std::optional<int64_t> wanted = selector.version;
  if (entry != entries_.end() && !selector.label.empty()) {
    const auto label = entry->second.config.labels.find(selector.label);
    if (label == entry->second.config.labels.end()) {
      return RpcStatus(RpcCode::kInvalidArgument, "Unrecognized servable version label: " + selector.label);
    }
    wanted = label->second;
  }
  std::vector<VersionStatus> statuses;
  if (entry != entries_.end()) {
    for (const auto& [number, version] : entry->second.versions) {
      if (wanted.has_value() && *wanted != number) continue;
      statuses.push_back({number, version.state_now(), version.status});
    }
  }
  if (!statuses.empty()) return statuses;
  if (wanted.has_value()) {
    return RpcStatus(RpcCode::kNotFound,
                     fmt::format("Could not find version {} of model {}", *wanted, selector.name));
  }
  std::string message = "Could not find any versions of model " + selector.name;
  if (entry != entries_.end() && !entry->second.fault.empty()) message += " (" + entry->second.fault + ")";
  return RpcStatus(RpcCode::kNotFound, std::move(message));
}

bool ModelManager::ready() const {
  const std::shared_lock lock(mutex_);
  return !entries_.empty() && std::ranges::all_of(entries_, [](const auto& entry) {
    return std::ranges::any_of(entry.second.versions,
                               [](const auto& version) { return version.second.servable != nullptr; });
  });
}

std::vector<std::string> ModelManager::names() const {
  const std::shared_lock lock(mutex_);
  std::vector<std::string> names;
  for (const auto& [name, entry] : entries_) names.push_back(name);
  return names;
}

RpcStatus ModelManager::reload(std::vector<ModelConfig> configs) {
  if (RpcStatus checked = check_model_configs(configs); !checked.ok()) return checked;
  const std::lock_guard one_at_a_time(reload_mutex_);
  std::map<std::string, Entry, std::less<>> dropped;
  {
    const std::unique_lock lock(mutex_);
    std::set<std::string, std::less<>> kept;
    for (ModelConfig& config : configs) {
      kept.insert(config.name);
      Entry& entry = entries_[config.name];
      entry.wanted_labels = std::exchange(config.labels, entry.config.labels);
      entry.config = std::move(config);
    }
    for (auto entry = entries_.begin(); entry != entries_.end();) {
      const auto next = std::next(entry);
      if (!kept.contains(entry->first)) {
        log_("model " + entry->first + ": is not served any more");
        dropped.insert(entries_.extract(entry));
      }
      entry = next;
    }
  }
  dropped.clear();  // not under the lock: the last use of a servable may go here
  poll_now();
  const std::shared_lock lock(mutex_);
  if (RpcStatus missing = unavailable(); !missing.ok()) return missing;
  for (const auto& [name, entry] : entries_) {
    const auto absent = entry.absent_label();
    if (absent == entry.wanted_labels.end()) continue;
    return {RpcCode::kFailedPrecondition,
            fmt::format("model \"{}\": label \"{}\" is for version {}, which is not available", name,
                        absent->first, absent->second)};
  }
  return {};
}

/// The models of which no version is available, in TensorFlow Serving's words. Needs the mutex.
RpcStatus ModelManager::unavailable() const {
  std::string faults;
  size_t count = 0;
  for (const auto& [name, entry] : entries_) {
    const auto available = [](const auto& version) { return version.second.servable != nullptr; };
    if (std::ranges::any_of(entry.versions, available)) continue;
    ++count;
    if (entry.versions.empty()) {
      faults += fmt::format("{{{{name: {}}} due to error: {}}}, ", name,
                            entry.fault.empty() ? "no versions" : entry.fault);
      continue;
    }
    const auto& [number, version] = *entry.versions.begin();
    faults += fmt::format("{{{{name: {} version: {}}} due to error: {}}}, ", name, number,
                          version.status.message());
  }
  if (count == 0) return {};
  return {RpcCode::kUnknown, fmt::format("{} servable(s) did not become available: {{{}}}", count, faults)};
}

void ModelManager::poll_now() {
  std::unique_lock lock(work_mutex_);
  const uint64_t mine = ++asked_;
  work_.notify_all();
  work_.wait(lock, [&] { return done_ >= mine; });
}

void ModelManager::run(const std::stop_token& stop) {
  std::unique_lock lock(work_mutex_);
  while (!stop.stop_requested()) {
    const auto asked = [this] { return asked_ > done_; };
    if (options_.poll.count() > 0) {
      work_.wait_for(lock, stop, options_.poll, asked);
    } else {
      work_.wait(lock, stop, asked);
    }
    if (stop.stop_requested()) break;
    const uint64_t look = asked_;
    lock.unlock();
    refresh_all();
    lock.lock();
    done_ = look;
    work_.notify_all();
  }
  done_ = UINT64_MAX;  // whoever waits has waited enough
  work_.notify_all();
}

void ModelManager::refresh_all() {
  for (const std::string& name : names()) {
    refresh(name);
    set_labels(name);
  }
  forget_ended();
  tell_ready();
}

void ModelManager::tell_ready() {
  if (names().empty()) return;
  const bool now = ready();
  if (std::exchange(told_ready_, now) == now) return;
  log_(now ? "ready" : "not ready: no version of some model is available");
}

/// A model's labels change together, when everything that they name is there to be found.
void ModelManager::set_labels(const std::string& name) {
  const std::unique_lock lock(mutex_);
  const auto found = entries_.find(name);
  if (found == entries_.end()) return;
  Entry& entry = found->second;
  if (entry.config.labels == entry.wanted_labels || entry.absent_label() != entry.wanted_labels.end()) return;
  entry.config.labels = entry.wanted_labels;
  for (const auto& [label, version] : entry.config.labels) {
    log_(fmt::format("model {}: label {} is for version {}", name, label, version));
  }
}

std::optional<ModelConfig> ModelManager::config_of(const std::string& name) const {
  const std::shared_lock lock(mutex_);
  const auto entry = entries_.find(name);
  return entry == entries_.end() ? std::nullopt : std::optional(entry->second.config);
}

void ModelManager::refresh(const std::string& name) {
  const std::optional<ModelConfig> config = config_of(name);
  if (!config.has_value()) return;
  const auto listed = list_versions(config->base_path);
  const std::vector<VersionFolder> folders = listed.ok() ? *listed : std::vector<VersionFolder>();
  note_folders(name, folders, listed.ok() ? "" : listed.status().message());

  std::set<int64_t> available;
  const auto* latest = std::get_if<LatestVersions>(&config->policy);
  const auto* specific = std::get_if<SpecificVersions>(&config->policy);
  for (const VersionFolder& folder : folders) {
    // Those that cannot be loaded do not count: an older one takes their place.
    if (latest != nullptr && available.size() >= latest->count) break;
    if (specific != nullptr &&
        std::ranges::find(specific->versions, folder.version) == specific->versions.end()) {
      continue;
    }
    if (load(name, folder)) available.insert(folder.version);
  }
  if (available.empty()) return;  // what is served stays, whatever became of its folder
  std::vector<int64_t> superfluous;
  {
    const std::shared_lock lock(mutex_);
    const auto entry = entries_.find(name);
    if (entry == entries_.end()) return;
    for (const auto& [number, version] : entry->second.versions) {
      if (version.servable != nullptr && !available.contains(number)) superfluous.push_back(number);
    }
  }
  for (const int64_t number : superfluous) unload(name, number);
}

/// Notes what the base path holds: failures of folders that have gone are forgotten.
void ModelManager::note_folders(const std::string& name, const std::vector<VersionFolder>& folders,
                                const std::string& fault) {
  const std::unique_lock lock(mutex_);
  const auto entry = entries_.find(name);
  if (entry == entries_.end()) return;
  if (fault != entry->second.fault && !fault.empty()) log_("model " + name + ": " + fault);
  entry->second.fault = fault;
  std::erase_if(entry->second.versions, [&](const auto& item) {
    const auto& [number, version] = item;
    return version.state == VersionState::kEnd && !version.status.ok() &&
           std::ranges::find(folders, number, &VersionFolder::version) == folders.end();
  });
}

/// Sees to it that a version is available; true when it is.
bool ModelManager::load(const std::string& name, const VersionFolder& folder) {
  const auto before = folder_fingerprint(folder.path);
  {
    const std::unique_lock lock(mutex_);
    const auto entry = entries_.find(name);
    if (entry == entries_.end()) return false;
    Version& version = entry->second.versions[folder.version];
    if (version.servable != nullptr && version.path == folder.path) return true;
    if (before.ok() && !version.status.ok() && version.fingerprint == *before) return false;
    if (!before.ok() && version.status.message() == rpc_status_of_load(before.status()).message())
      return false;
    if (version.servable == nullptr) version.state = VersionState::kLoading;
  }
  Status failed = before.status();
  std::shared_ptr<const Servable> servable;
  if (failed.ok()) {
    auto loaded = Servable::load(name, folder.version, folder.path, options_.servable, slots_, metrics_);
    const auto after = folder_fingerprint(folder.path);
    if (!loaded.ok()) {
      failed = loaded.status();
    } else if (!after.ok() || *after != *before) {
      failed = Status(StatusCode::kCorrupt, folder.path + ": changed while it was read");
    } else {
      servable = std::move(loaded).value();
    }
  }
  metrics_.count_load(name, failed.ok());
  log_(failed.ok()
           ? fmt::format("model {}: version {} is available, from {}", name, folder.version, folder.path)
           : fmt::format("model {}: version {} is not served: {}", name, folder.version, failed.message()));
  if (failed.ok() && !servable->note().empty()) log_(fmt::format("model {}: {}", name, servable->note()));
  std::shared_ptr<const Servable> old;  // goes after the lock
  const std::unique_lock lock(mutex_);
  const auto entry = entries_.find(name);
  if (entry == entries_.end()) return false;
  Version& version = entry->second.versions[folder.version];
  version.status = rpc_status_of_load(failed);
  if (!failed.ok()) {
    version.fingerprint = before.ok() ? *before : "";
    if (version.servable == nullptr) version.state = VersionState::kEnd;
    return false;
  }
  old = std::exchange(version.servable, std::move(servable));
  version.path = folder.path;
  version.state = VersionState::kAvailable;
  return true;
}

void ModelManager::unload(const std::string& name, int64_t number) {
  std::shared_ptr<const Servable> old;  // goes after the lock
  {
    const std::unique_lock lock(mutex_);
    const auto entry = entries_.find(name);
    if (entry == entries_.end()) return;
    Version& version = entry->second.versions[number];
    old = std::exchange(version.servable, nullptr);
    version.draining = old;
    version.state = VersionState::kUnloading;
  }
  log_(fmt::format("model {}: version {} is let go", name, number));
}

/// Notes which versions have been freed, gives their memory back, and forgets the oldest of them.
void ModelManager::forget_ended() {
  bool freed = false;
  {
    const std::unique_lock lock(mutex_);
    for (auto& [name, entry] : entries_) {
      size_t ended = 0;
      for (auto item = entry.versions.begin(); item != entry.versions.end();) {
        Version& version = item->second;
        if (version.state == VersionState::kUnloading && version.draining.expired()) {
          version.state = VersionState::kEnd;
          freed = true;
        }
        const bool gone = version.state == VersionState::kEnd && version.status.ok();
        item = gone && ++ended > kMaxEndedVersions ? entry.versions.erase(item) : std::next(item);
      }
    }
  }
  if (freed) malloc_trim(0);
}

}  // namespace nacre
