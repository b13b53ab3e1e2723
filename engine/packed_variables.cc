#include "engine/packed_variables.h"

namespace nacre {

PackedVariables::PackedVariables(const Plan& plan, const VariableStore& store, int threads)
    : memory_(Shape{static_cast<int64_t>(plan.packed_bytes())}) {
  if (memory_.size() == 0) return;
  for (const Unit& unit : plan.units()) {
    if (unit.operation->info().packed_bytes == 0) continue;
    const std::vector<TensorView<const float>> variables = plan.variables_of(unit, store);
    unit.operation->pack(variables, threads, memory_.data() + unit.packed_offset);
  }
}

const std::byte* PackedVariables::of(const Unit& unit) const {
  const bool packs = memory_.size() > 0 && unit.operation->info().packed_bytes > 0;
  return packs ? memory_.data() + unit.packed_offset : nullptr;
}

}  // namespace nacre
