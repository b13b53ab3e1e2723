#include "cli/export_bundle.h"

#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "runtime/golden.h"

namespace nacre {
namespace {

namespace fs = std::filesystem;

/// Where the weights come from. No times and no paths: the same checkpoint gives the same bundle.
std::map<std::string, std::string> provenance_of(const OpenedModel& opened) {
  const TrainingState& state = opened.state;
  nlohmann::ordered_json metrics = nlohmann::ordered_json::object();
  if (state.best_accuracy >= 0) {
    if (state.best_step == state.step) metrics["validation_accuracy"] = state.best_accuracy;
    metrics["best_validation_accuracy"] = state.best_accuracy;
    metrics["best_step"] = state.best_step;
  }
  return {{"recipe", opened.recipe},
          {"data_digest", state.data_digest},
          {"step", std::to_string(state.step)},
          {"epoch", std::to_string(state.epoch)},
          {"metrics", metrics.dump()},
          {"nacre_version", std::string(nacre_version())}};
}

}  // namespace

Status complete_bundle(const Session& session, OpenedModel& opened, int threads) {
  opened.model.provenance = provenance_of(opened);
  return add_golden_vectors(opened.model, session.registry, session.model_options(1, threads));
}

Status make_parents(const std::string& path) {
  const fs::path parent = fs::path(path).parent_path();
  if (parent.empty()) return {};
  std::error_code error;
  fs::create_directories(parent, error);
  return error ? Status(StatusCode::kIo, parent.string() + ": " + error.message()) : Status();
}

std::string readable_size(uintmax_t bytes) {
  const auto number = static_cast<double>(bytes);
  if (bytes < 1024) return fmt::format("{} bytes", bytes);
  if (bytes < 1 << 20) return fmt::format("{:.1f} KiB", number / 1024);
  return fmt::format("{:.1f} MiB", number / (1 << 20));
}

}  // namespace nacre
