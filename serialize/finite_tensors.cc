#include "serialize/finite_tensors.h"

#include <fmt/format.h>

#include "engine/finite.h"

namespace nacre {

Status check_finite(const VariableStore& variables) {
  for (const auto& [name, tensor] : variables.tensors()) {
    if (all_finite(tensor.size(), tensor.data())) continue;
    return {StatusCode::kDiverged, fmt::format("tensor '{}' holds a value that is NaN or infinite", name)};
  }
  return {};
}

}  // namespace nacre
