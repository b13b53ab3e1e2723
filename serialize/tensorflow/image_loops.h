#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "engine/status.h"
#include "serialize/tensorflow/graph_frames.h"

namespace nacre {

/// What stands for a node that belongs to a loop over the images of a batch, as tf.map_fn makes it.
struct ImageLoopNode {
  std::string_view op;  ///< kMapOp, of the batch that the loop makes; or kElementOp, of what it goes over
  int frame = 0;        ///< and
  std::string input;    ///< the one input
};

/// Recognises a node of such a loop: the batch of results (TensorListStack, TensorArrayGatherV3, MapDefun),
/// or the read of one image's element (GatherV2, TensorListGetItem, TensorArrayReadV3). Three forms are
/// known: While and StatelessWhile with a tensor list, MapDefun, and TF1's frames (Enter, Merge, Switch) with
/// a TensorArray. Each turn must compute one result of one element, and nothing else from turn to turn.
/// Nothing for other nodes; kUnsupported for loops of another kind.
Result<std::optional<ImageLoopNode>> find_image_loop(GraphFrames& frames, int frame,
                                                     const tensorflow::NodeDef& node);

}  // namespace nacre
