#pragma once

#include <vector>

#include "engine/graph.h"
#include "engine/op_def.h"
#include "engine/status.h"
#include "engine/variable_store.h"
#include "serialize/tensorflow/constant_folding.h"
#include "serialize/tensorflow/flat_graph.h"

namespace nacre {

/// A network of nacre's layers that was recognised in a foreign graph.
struct RecognizedNetwork {
  std::vector<Node> nodes;
  VariableStore variables;  ///< named as the nodes' layers want it
};

/// Recognises the layers between `head` (what the network reads, images of `input` [1, H, W, C]) and the
/// graph's output. What does not depend on the input must have been folded. Layers are called as their
/// variables' scope, or as their node. Errors name the node: kUnsupported for one that no layer recognises;
/// kCorrupt for shapes that do not fit together.
Result<RecognizedNetwork> recognize_layers(FlatGraph& graph, FlatNode& head, const Shape& input,
                                           ConstantFolder& folder, const Registry& registry);

}  // namespace nacre
