#include "cli/export_bundle.h"

#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "runtime/golden.h"

namespace nacre {
namespace {

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

}  // namespace nacre
