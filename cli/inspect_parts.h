#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/session.h"
#include "engine/bundle.h"
#include "engine/checkpoint.h"
#include "engine/graph.h"
#include "engine/plan.h"

namespace nacre {

using Json = nlohmann::ordered_json;

// What `inspect` says of parts that files of several kinds have: as JSON, and as lines of text.

/// The layers of a graph with that input; errors are Plan's.
Result<std::vector<NodeSummary>> layers_of(const Session& session, const Graph& graph,
                                           const InputContract& contract);
/// `nodes`: those that `layers` sums up, one to one.
Json layers_json(const std::vector<NodeSummary>& layers, const std::vector<Node>& nodes);
std::string layer_table(const std::vector<NodeSummary>& layers);

Json input_json(const InputContract& in);
std::string input_line(const InputContract& in);

Json signatures_json(const std::vector<Signature>& signatures);
std::string signature_lines(const std::vector<Signature>& signatures);

std::string labels_line(const std::vector<std::string>& labels);

Json state_json(const TrainingState& state);
std::string state_line(const TrainingState& state);

}  // namespace nacre
