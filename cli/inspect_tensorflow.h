#pragma once

#include "cli/session.h"
#include "cli/tensorflow_files.h"
#include "engine/status.h"

namespace nacre {

/// What `inspect` says of a SavedModel or of TensorFlow's checkpoint. A SavedModel whose network nacre cannot
/// read is shown too, with the reason.
Status inspect_tensorflow(const Session& session, const TensorflowFile& file, bool json);

}  // namespace nacre
