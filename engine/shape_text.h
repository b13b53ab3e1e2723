#pragma once

#include <string>

#include "engine/shape.h"

namespace nacre {

/// "[N, 3]": the extents with a letter for the first one, for messages about shapes that hold whatever the
/// batch.
std::string batch_shape(const Shape& shape);

}  // namespace nacre
