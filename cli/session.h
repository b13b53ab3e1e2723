#pragma once

#include <cstdint>

#include "engine/op_def.h"
#include "engine/plan.h"
#include "runtime/model.h"

namespace nacre {

/// What is settled before a command runs; it outlives all that the command does.
struct Session {
  Registry registry;       ///< the built-in ops
  bool reference = false;  ///< NACRE_ISA=reference: plans use the readable implementations

  /// Options for a plan under the user's choices.
  [[nodiscard]] PlanOptions plan_options(Mode mode, int64_t batch, int threads) const;
  /// The same for a model that predicts.
  [[nodiscard]] ModelOptions model_options(int64_t batch, int threads) const;
};

}  // namespace nacre
