#pragma once

#include <cstdint>

#include "engine/node_view.h"
#include "engine/status.h"
#include "schemas/tensorflow/tensor.pb.h"

namespace nacre {

/// A shape with every extent known; kCorrupt otherwise, and for extents that Shape refuses.
Result<Shape> read_shape(const tensorflow::TensorShapeProto& shape);

/// The value of a tensor of float, half, double, int32, int64 or bool; without elements (neither floats nor
/// ints) for other types. kCorrupt when elements and shape do not fit together; kLimit beyond `max_elements`,
/// and beyond `max_repeated` where one number stands for many.
Result<FoldedTensor> read_tensor_value(const tensorflow::TensorProto& tensor, int64_t max_elements,
                                       int64_t max_repeated);

}  // namespace nacre
