#pragma once

#include <string>
#include <vector>

#include "cli/train_resume.h"
#include "engine/checkpoint.h"
#include "engine/status.h"

namespace nacre {

/// Puts variables of `file` (a bundle, a checkpoint, a run folder: its best checkpoint, or a TensorFlow
/// checkpoint: find_tf_checkpoint) by name in the place of `checkpoint`'s initial ones, and returns what the
/// user should know, a line each. `map` is a file of names for a TensorFlow checkpoint (read_name_map), or
/// empty.
///
/// What the file lacks starts anew, and what it has too much is not used; both are listed. Layers whose size
/// is the number of classes ("classes" in the model) also start anew when the file's classes are not those of
/// the data; when it does not say its classes, when their shape differs. Optimizer slots are not taken.
/// kBadData when another variable has another shape (listing the first ones, and what is missing and extra)
/// or nothing fits; kDiverged for a
/// value that is not finite; kUsage for a map of another kind of file; else the errors of reading the files.
Result<std::vector<std::string>> init_from(const std::string& file, const std::string& map,
                                           const RunStart& start, Checkpoint& checkpoint);

}  // namespace nacre
