#pragma once

#include <string>

#include "engine/input_contract.h"
#include "engine/status.h"
#include "serialize/tensorflow/graph_builder.h"

// The input contract as nodes of TensorFlow's: from encoded images to the network's input. The steps and
// their order are those of image/ (engine/input_contract.h): DecodeJpeg (which takes PNG too), multiplication
// by the scale, ResizeBilinear with half-pixel centres.

namespace nacre {

/// kUnsupported when TensorFlow cannot do what the contract says: EXIF is applied, or channels are not 1
/// or 3.
Status check_decodable(const InputContract& contract);

/// Adds the functions that decode_batch calls: one turn of a loop over a batch's images, and whether there is
/// another turn.
void add_decode_functions(tensorflow::GraphDef& graph, const InputContract& contract);

/// Adds a loop over `images`, a tensor [N] of encoded images of any sizes, and returns its result [N, height,
/// width, channels]. Names begin with `prefix`. It is what tf.map_fn makes: StatelessWhile over a TensorList.
std::string decode_batch(GraphBuilder& graph, const InputContract& contract, const std::string& prefix,
                         const std::string& images);

/// Adds the classic one-image form: the first of `images`, decoded by TensorFlow's default method whatever
/// the contract says, and returns it as [1, height, width, channels].
std::string decode_first(GraphBuilder& graph, const InputContract& contract, const std::string& images);

}  // namespace nacre
