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
/// "step 60, 3 epochs done and 6 batches of the next, seed 1, best validation accuracy 91.00% (step 40)"
std::string state_line(const TrainingState& state);
/// JSON text from a file as JSON, or as text when it is none.
Json parsed_or_text(const std::string& text);
/// What comes after "recipe:". Of a JSON object "batch-size 100, optimizer adam, ..." in indented lines that
/// fit a terminal; other text as it is.
std::string settings_text(const std::string& text);

}  // namespace nacre
