#pragma once

#include "engine/plan.h"
#include "engine/variable_store.h"

namespace nacre {

/// The variables of a plan for inference in the forms that its operators compute with. Made once and shared
/// by executors, as long as the variables do not change. Immutable.
class PackedVariables {
 public:
  /// Allocates, and packs on up to `threads` threads. The store must have passed plan.check_variables.
  PackedVariables(const Plan& plan, const VariableStore& store, int threads);

  /// What the operator of that unit packed; null when it packs nothing.
  [[nodiscard]] const std::byte* of(const Unit& unit) const;

 private:
  BasicTensor<std::byte> memory_;
};

}  // namespace nacre
