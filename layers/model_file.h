#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/graph.h"
#include "engine/input_contract.h"
#include "engine/op_def.h"
#include "engine/status.h"

namespace nacre {

// Thread-safe: the functions keep nothing between calls and only read the registry.

/// A model before it knows its classes: what a model file (JSON) says, and what the presets are.
struct ModelDescription {
  std::string name;
  InputContract input;  ///< without labels
  /// Attributes as written; the text "classes" stands for the number of classes. An activation that no op
  /// computes itself is a node of its own (layers/activation_layer.h).
  std::vector<Node> nodes;
  std::string recipe;  ///< JSON object of train's option names and values; "{}" when there is none
};

/// Reads a model file. Errors are kBadData `where[: place]: reason`: they name the place
/// ("layers[3].kernel_size") and list what is known for unknown keys and ops. Ops, attributes and edges are
/// checked against `registry`; shapes by Plan.
Result<ModelDescription> parse_model(std::string_view json, const std::string& where,
                                     const Registry& registry);

/// The same as JSON text that parse_model reads back to an equal description; indented.
std::string write_model(const ModelDescription& model);

/// The graph for training with `classes` outputs: "classes" replaced, defaults written out.
Result<Graph> build_graph(const ModelDescription& model, int64_t classes, const Registry& registry);

/// The names of the presets, sorted.
std::vector<std::string> preset_names();

/// A preset by name, else a model file by path. An unknown name that is no file either is kUsage, listing the
/// presets.
Result<ModelDescription> load_model(const std::string& preset_or_file, const Registry& registry);

}  // namespace nacre
