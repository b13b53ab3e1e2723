#include "serve/model_manager.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

#include "serve/model_entry.h"

namespace nacre {
namespace {

RpcStatus not_found(const ModelSelector& selector, std::optional<int64_t> version) {
  return {RpcCode::kNotFound,
          version.has_value()
              ? fmt::format("Servable not found for request: Specific({}, {})", selector.name, *version)
              : fmt::format("Servable not found for request: Latest({})", selector.name)};
}

}  // namespace

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
  const auto is_available = [](const auto& entry) { return entry.second.available(); };
  return was_ready_ ? std::ranges::any_of(entries_, is_available)
                    : !entries_.empty() && std::ranges::all_of(entries_, is_available);
}

std::string ModelManager::unavailable_names() const {
  const std::shared_lock lock(mutex_);
  std::string names;
  for (const auto& [name, entry] : entries_) {
    if (!entry.available()) names += (names.empty() ? "" : ", ") + name;
  }
  return names;
}

std::vector<std::string> ModelManager::names() const {
  const std::shared_lock lock(mutex_);
  std::vector<std::string> names;
  for (const auto& [name, entry] : entries_) names.push_back(name);
  return names;
}

std::string_view ModelManager::known_name(std::string_view name) const {
  const std::shared_lock lock(mutex_);
  return entries_.contains(name) ? name : "";
}

RpcStatus ModelManager::reload(std::vector<ModelConfig> configs, const CallContext& context) {
  if (RpcStatus checked = check_model_configs(configs); !checked.ok()) return checked;
  {
    std::unique_lock lock(work_mutex_);
    const bool in_time =
        work_.wait_until(lock, context.cancelled, context.deadline, [this] { return !reloading_; });
    if (!in_time) return context.check();
    reloading_ = true;
  }
  struct Turn {
    ModelManager& manager;
    ~Turn() {
      const std::lock_guard lock(manager.work_mutex_);
      manager.reloading_ = false;
      manager.work_.notify_all();
    }
  };
  const Turn turn{*this};
  std::map<std::string, ModelEntry, std::less<>> dropped;
  {
    const std::unique_lock lock(mutex_);
    std::set<std::string, std::less<>> kept;
    for (ModelConfig& config : configs) {
      kept.insert(config.name);
      ModelEntry& entry = entries_[config.name];
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
  if (!look(context)) return context.check();
  const std::shared_lock lock(mutex_);
  if (RpcStatus missing = unmet(); !missing.ok()) return missing;
  for (const auto& [name, entry] : entries_) {
    const auto absent = entry.absent_label();
    if (absent == entry.wanted_labels.end()) continue;
    return {RpcCode::kFailedPrecondition,
            fmt::format("model \"{}\": label \"{}\" is for version {}, which is not available", name,
                        absent->first, absent->second)};
  }
  return {};
}

/// The models of which no version that is asked for is available. Needs the mutex.
RpcStatus ModelManager::unmet() const {
  std::string faults;
  size_t count = 0;
  for (const auto& [name, entry] : entries_) {
    if (entry.config_met) continue;
    ++count;
    faults += fmt::format("{{{}}}, ", entry.unmet_text());
  }
  if (count == 0) return {};
  return {RpcCode::kUnknown, fmt::format("{} servable(s) did not become available: {{{}}}", count, faults)};
}

void ModelManager::poll_now() {
  look({});
}

/// False when the call is of no use any more before it is over.
bool ModelManager::look(const CallContext& context) {
  std::unique_lock lock(work_mutex_);
  const uint64_t mine = ++asked_;
  work_.notify_all();
  return work_.wait_until(lock, context.cancelled, context.deadline, [&] { return done_ >= mine; });
}

bool ModelManager::stop_loading() {
  thread_.request_stop();
  return !loading_;
}

}  // namespace nacre
