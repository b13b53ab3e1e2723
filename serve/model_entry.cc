#include "serve/model_entry.h"

#include <fmt/format.h>

#include <algorithm>

namespace nacre {

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

void Retry::failed(bool may_pass) {
  if (!may_pass) {
    *this = {};
    return;
  }
  at_ = std::chrono::steady_clock::now() + pause_;
  pause_ = std::min(2 * pause_, std::chrono::seconds(60));
}

VersionState ModelVersion::state_now() const {
  return state == VersionState::kUnloading && draining.expired() ? VersionState::kEnd : state;
}

bool ModelEntry::available() const {
  return std::ranges::any_of(versions, [](const auto& item) { return item.second.servable != nullptr; });
}

std::string ModelEntry::staying_text() const {
  std::string numbers;
  size_t count = 0;
  for (const auto& [number, version] : versions) {
    if (version.servable == nullptr) continue;
    numbers += fmt::format("{}{}", ++count == 1 ? "" : ", ", number);
  }
  return count == 1 ? "version " + numbers + " stays" : "versions " + numbers + " stay";
}

std::map<std::string, int64_t>::const_iterator ModelEntry::absent_label() const {
  return std::ranges::find_if(wanted_labels, [&](const auto& label) {
    const auto version = versions.find(label.second);
    return version == versions.end() || version->second.servable == nullptr;
  });
}

std::string ModelEntry::unmet_text() const {
  if (!fault.empty()) return fmt::format("{{name: {}}} due to error: {}", config.name, fault);
  const auto failed =
      std::ranges::find_if(versions, [](const auto& item) { return !item.second.status.ok(); });
  if (failed == versions.end()) return fmt::format("{{name: {}}} due to error: no versions", config.name);
  return fmt::format("{{name: {} version: {}}} due to error: {}", config.name, failed->first,
                     failed->second.status.message());
}

}  // namespace nacre
