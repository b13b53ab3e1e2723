#pragma once

#include <string>

#include "engine/bundle.h"
#include "engine/plan.h"
#include "serialize/read_options.h"

namespace nacre {

// Thread-safe: the functions keep nothing between calls and only read bundle and registry.

/// A bundle's graph made ready for prediction, and checked as a whole: the plan, in mode kInference, of a
/// graph whose output is [N, classes], with a label for every class (or none at all), and with every variable
/// of its shape in `bundle.variables`. Errors are kBadData, and those of Plan::make. The registry must
/// outlive the plan.
Result<Plan> plan_prediction(const Bundle& bundle, const Registry& registry, PlanOptions options);

/// Reads a bundle file and checks it by plan_prediction. Errors are `path: reason`: those of read_bundle, and
/// kCorrupt when its parts do not fit together.
Result<Bundle> open_bundle(const std::string& path, const Registry& registry,
                           const ReadOptions& options = {});

/// What predicts of what was trained: `training_graph` redrawn, those of `trained` that it uses (moved; slots
/// stay behind), `contract` with its labels, and the signature by which servers call it. Without golden
/// vectors and provenance. Errors are kBadData: those of Plan::make and of plan_prediction.
Result<Bundle> make_prediction_bundle(std::string name, const Graph& training_graph, VariableStore trained,
                                      InputContract contract, const Registry& registry);

}  // namespace nacre
