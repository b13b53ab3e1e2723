#pragma once

#include <cstdint>
#include <string>
#include <vector>

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
  double graph_scale = 1;    ///< what the graph multiplies by, up to `head`
  /// A node that says that the input is levels of 0 to 255, beside others that read it as it is; empty when
  /// there is none. Only who made the network knows then.
  std::string doubtful;
  /// Nodes behind `head` that make a batch of one image's element: what they read is a batch to nacre anyway.
  std::vector<const FlatNode*> batching;
};

/// Recognises what a graph does before its network: decoding (DecodeJpeg, DecodePng, DecodeImage) of a batch
/// of encoded images, one by one, or of the first alone; or an input of numbers; then changes of type,
/// scaling by constants and a bilinear resize, in any order. Behind them, one by one too, may come additions
/// and multiplications of constants, which are layers. kUnsupported, naming the node, for what an
/// InputContract cannot say.
Result<ImageInput> recognize_image_input(const FlatGraph& graph);

}  // namespace nacre
