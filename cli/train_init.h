#pragma once

#include <string>
#include <vector>

#include "cli/train_resume.h"
#include "engine/checkpoint.h"
#include "engine/status.h"

namespace nacre {

/// Puts variables of `file` (a bundle, a checkpoint, or a run folder: its best checkpoint) by name in the
/// place of `checkpoint`'s initial ones, and returns what the user should know, a line each.
///
/// What the file lacks starts anew, and what it has too much is not used; both are listed. Layers whose size
/// is the number of classes ("classes" in the model) also start anew when the file's classes are not those of
/// the data. Optimizer slots are not taken. kBadData when another variable has another shape (listing the
/// first ones) or nothing fits; kDiverged for a value that is not finite; else the errors of reading the
/// file.
Result<std::vector<std::string>> init_from(const std::string& file, const RunStart& start,
                                           Checkpoint& checkpoint);

}  // namespace nacre
