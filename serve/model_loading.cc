// What ModelManager's thread does.
#include <fmt/format.h>
#include <malloc.h>

#include <algorithm>
#include <set>
#include <utility>

#include "serve/model_entry.h"
#include "serve/model_manager.h"

namespace nacre {
namespace {

/// Versions without a use that the status of a model still lists.
constexpr size_t kMaxEndedVersions = 16;

bool holds(const std::vector<VersionFolder>& folders, int64_t version) {
  return std::ranges::find(folders, version, &VersionFolder::version) != folders.end();
}

/// True for what is the system's: memory, descriptors, permissions, a network's file system.
bool may_pass(StatusCode code) {
  return code == StatusCode::kIo || code == StatusCode::kLimit || code == StatusCode::kInternal;
}

/// "version 77 is not in BASE" of the first that is asked for and not there; empty when all are.
std::string missing_version(const SpecificVersions& wanted, const std::vector<VersionFolder>& folders,
                            const std::string& base_path) {
  const auto missing =
      std::ranges::find_if_not(wanted.versions, [&](int64_t version) { return holds(folders, version); });
  return missing == wanted.versions.end() ? "" : fmt::format("version {} is not in {}", *missing, base_path);
}

}  // namespace

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
    refresh_all(stop);
    lock.lock();
    done_ = look;
    work_.notify_all();
  }
  done_ = UINT64_MAX;  // whoever waits has waited enough
  work_.notify_all();
}

void ModelManager::refresh_all(const std::stop_token& stop) {
  for (const std::string& name : names()) {
    refresh(name, stop);
    set_labels(name);
  }
  forget_ended();
  tell_ready();
}

void ModelManager::tell_ready() {
  if (names().empty()) return;
  const std::string missing = unavailable_names();
  if (missing.empty()) was_ready_ = true;
  std::string text = ready() ? "ready" : "not ready";
  if (!missing.empty()) text += ": no version is available of " + missing;
  if (told_ready_ != text) log_(text);
  told_ready_ = std::move(text);
}

/// A model's labels change together, when everything that they name is there to be found.
void ModelManager::set_labels(const std::string& name) {
  const std::unique_lock lock(mutex_);
  const auto found = entries_.find(name);
  if (found == entries_.end()) return;
  ModelEntry& entry = found->second;
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

void ModelManager::refresh(const std::string& name, const std::stop_token& stop) {
  const std::optional<ModelConfig> config = config_of(name);
  if (!config.has_value()) return;
  const auto listed = list_versions(config->base_path);
  const std::vector<VersionFolder> folders = listed.ok() ? *listed : std::vector<VersionFolder>();
  forget_failures(name, folders);

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
    loading_ = true;
    const bool loaded = !stop.stop_requested() && load(name, folder);
    loading_ = false;
    if (stop.stop_requested()) return;
    if (loaded) available.insert(folder.version);
  }
  std::string fault = listed.status().message();
  if (listed.ok() && folders.empty()) {
    fault = config->base_path + ": holds no numbered version folder, such as " + config->base_path + "/1";
  } else if (listed.ok() && specific != nullptr) {
    fault = missing_version(*specific, folders, config->base_path);
  }
  note_outcome(name, std::move(fault), !available.empty());
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

/// Failures of folders that have gone are forgotten.
void ModelManager::forget_failures(const std::string& name, const std::vector<VersionFolder>& folders) {
  const std::unique_lock lock(mutex_);
  const auto entry = entries_.find(name);
  if (entry == entries_.end()) return;
  std::erase_if(entry->second.versions, [&](const auto& item) {
    const auto& [number, version] = item;
    return version.state == VersionState::kEnd && !version.status.ok() && !holds(folders, number);
  });
}

/// Notes, and says once, what of the configuration is not there.
void ModelManager::note_outcome(const std::string& name, std::string fault, bool config_met) {
  const std::unique_lock lock(mutex_);
  const auto found = entries_.find(name);
  if (found == entries_.end()) return;
  ModelEntry& entry = found->second;
  entry.config_met = config_met;
  if (!fault.empty() && !config_met && entry.available()) fault += "; " + entry.staying_text();
  if (fault != entry.fault && !fault.empty()) log_("model " + name + ": " + fault);
  entry.fault = std::move(fault);
}

/// Sees to it that a version is available; true when it is.
bool ModelManager::load(const std::string& name, const VersionFolder& folder) {
  const auto before = folder_fingerprint(folder.path);
  {
    const std::unique_lock lock(mutex_);
    const auto entry = entries_.find(name);
    if (entry == entries_.end()) return false;
    ModelVersion& version = entry->second.versions[folder.version];
    if (version.servable != nullptr && version.path == folder.path) {
      if (!version.status.ok()) {  // of another base path's folder
        version.status = {};
        version.fingerprint.clear();
      }
      // Said once: what was loaded is served on, as TensorFlow Serving does.
      if (before.ok() && !version.fingerprint.empty() && version.fingerprint != *before) {
        version.fingerprint.clear();
        log_(
            fmt::format("model {}: {} has changed since it was loaded; what was loaded is served: give it "
                        "a new number",
                        name, folder.path));
      }
      return true;
    }
    if (before.ok() && !version.status.ok() && version.fingerprint == *before && !version.retry.is_due())
      return false;
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
  if (failed.ok()) {
    log_(fmt::format("model {}: version {} is available, from {}", name, folder.version, folder.path));
    for (const std::string& note : servable->notes()) log_(fmt::format("model {}: {}", name, note));
  }
  std::shared_ptr<const Servable> old;  // goes after the lock
  const std::unique_lock lock(mutex_);
  const auto entry = entries_.find(name);
  if (entry == entries_.end()) return false;
  ModelVersion& version = entry->second.versions[folder.version];
  const std::string fingerprint = before.ok() ? *before : "";
  const bool same_files = std::exchange(version.fingerprint, fingerprint) == fingerprint;
  const std::string told = std::exchange(version.status, rpc_status_of_load(failed)).message();
  version.retry.failed(may_pass(failed.code()));
  if (!failed.ok()) {
    if (!same_files || told != version.status.message())
      log_(fmt::format("model {}: version {} is not served: {}", name, folder.version, failed.message()));
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
    ModelVersion& version = entry->second.versions[number];
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
        ModelVersion& version = item->second;
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
