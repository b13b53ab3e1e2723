#pragma once

#include <vector>

#include "engine/bundle.h"
#include "engine/op_def.h"
#include "engine/status.h"
#include "runtime/model.h"

namespace nacre {

// Thread-safe as long as each thread has a bundle of its own.

/// Sets `bundle.golden`: generated pictures (a gradient, shapes, noise; PNG and JPEG; one of another size
/// than the input unless the contract says exact) with the model's answers, for replay_golden_vectors. The
/// same bundle gives the same bytes. Errors are those of Model::make, `golden vector NAME: reason` too:
/// kDiverged when an answer is not finite.
Status add_golden_vectors(Bundle& bundle, const Registry& registry, const ModelOptions& options = {});

/// Model::replay_golden_vectors of a bundle; errors are Model::make's too.
Result<std::vector<GoldenReport>> replay_golden_vectors(const Bundle& bundle, const Registry& registry,
                                                        const ModelOptions& options = {});

}  // namespace nacre
