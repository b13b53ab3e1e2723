#pragma once

#include "engine/status.h"
#include "engine/variable_store.h"

namespace nacre {

/// kDiverged, naming the first tensor that holds a value that is NaN or infinite.
Status check_finite(const VariableStore& variables);

}  // namespace nacre
