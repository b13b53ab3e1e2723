#pragma once

#include <cstdint>

#include "engine/input_contract.h"
#include "engine/status.h"
#include "serialize/tensorflow/flat_graph.h"

namespace nacre {

/// How a graph reads images.
struct ImageInput {
  InputContract contract;    ///< without labels; height and width 0 when the graph does not tell them
  FlatNode* head = nullptr;  ///< the node whose output is the network's input [N, H, W, C]
  bool decodes = false;      ///< takes encoded images, not numbers
  bool scale_told = false;   ///< the graph says the scale
};

/// Recognises what a graph does before its network: decoding (DecodeJpeg, DecodePng, DecodeImage) of a batch
/// of encoded images, one by one, or of the first alone; or an input of numbers; then changes of type,
/// scaling by constants and a bilinear resize, in any order. kUnsupported, naming the node, for what an
/// InputContract cannot say.
Result<ImageInput> recognize_image_input(const FlatGraph& graph);

}  // namespace nacre
