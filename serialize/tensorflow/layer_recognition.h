#pragma once

#include <vector>

#include "engine/graph.h"
#include "engine/op_def.h"
#include "engine/status.h"
#include "engine/variable_store.h"
#include "serialize/tensorflow/constant_folding.h"
#include "serialize/tensorflow/flat_graph.h"
#include "serialize/tensorflow/image_input.h"

namespace nacre {

/// A network of nacre's layers that was recognised in a foreign graph.
struct RecognizedNetwork {
  std::vector<Node> nodes;
  VariableStore variables;  ///< named as the nodes' layers want it
};

/// Recognises the layers between `input.head` (what the network reads, images of `shape` [1, H, W, C]) and
/// the graph's output. What does not depend on the input must have been folded. Layers are called as their
/// variables' scope, or as their node. A Flatten is put in where a Softmax or the output is of images of 1
/// x 1. Errors name the node: kUnsupported for one that no layer recognises, and for an output that is no row
/// of scores for two classes or more; kCorrupt for shapes that do not fit together.
Result<RecognizedNetwork> recognize_layers(FlatGraph& graph, const ImageInput& input, const Shape& shape,
                                           ConstantFolder& folder, const Registry& registry);

}  // namespace nacre
