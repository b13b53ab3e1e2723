#pragma once

#include "engine/bundle.h"
#include "engine/op_def.h"
#include "engine/status.h"
#include "runtime/model.h"

namespace nacre {

// Thread-safe as long as each thread has a bundle of its own.

/// Sets `bundle.golden`: generated pictures (a gradient, shapes, noise; PNG and JPEG; one of another size
/// than the input unless the contract says exact) with the model's answers, for replay_golden_vectors. The
/// same bundle gives the same bytes. Errors are those of Model::make, `golden vector NAME: reason` too.
Status add_golden_vectors(Bundle& bundle, const Registry& registry, const ModelOptions& options = {});

}  // namespace nacre
