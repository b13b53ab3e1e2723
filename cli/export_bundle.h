#pragma once

#include "cli/open_model.h"
#include "cli/session.h"
#include "engine/status.h"

namespace nacre {

/// Adds provenance and golden vectors to what was opened of a checkpoint: the bundle that `export` writes.
/// Errors are those of add_golden_vectors.
Status complete_bundle(const Session& session, OpenedModel& opened, int threads);

}  // namespace nacre
