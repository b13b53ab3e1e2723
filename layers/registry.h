#pragma once

#include "engine/op_def.h"

namespace nacre {

/// The ops that nacre brings along, fused ones too, in the order of layers/CMakeLists.txt.
Registry builtin_ops();

}  // namespace nacre
