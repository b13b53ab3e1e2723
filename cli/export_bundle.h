#pragma once

#include <cstdint>
#include <string>

#include "cli/open_model.h"
#include "cli/session.h"
#include "engine/status.h"

namespace nacre {

/// Adds provenance and golden vectors to what was opened of a checkpoint: the bundle that `export` writes.
/// Errors are those of add_golden_vectors.
Status complete_bundle(const Session& session, OpenedModel& opened, int threads);

/// Makes the folders that `path` lies in; kIo.
Status make_parents(const std::string& path);

/// "812 bytes", "34.2 KiB", "5.1 MiB"
std::string readable_size(uintmax_t bytes);

}  // namespace nacre
