#pragma once

#include <vector>

#include "schemas/tensorflow/inference.pb.h"
#include "serve/predictor.h"
#include "serve/rpc_status.h"

namespace nacre {

/// The image of a tf.Example, in the feature "image" as its one bytes value; of `context` when the example
/// itself has no such feature. Borrowed. kInvalidArgument in TensorFlow's words.
RpcResult<EncodedImage> example_image(const tensorflow::Example& example, const tensorflow::Example* context);

/// The images of all examples; kInvalidArgument `Input is empty.` when there are none, `example I: reason`
/// for the first bad one.
RpcResult<std::vector<EncodedImage>> input_images(const tensorflow::serving::Input& input);

}  // namespace nacre
