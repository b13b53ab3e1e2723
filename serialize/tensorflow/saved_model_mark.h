#pragma once

#include <string>

#include "engine/status.h"

namespace nacre {

/// The file by which nacre knows a SavedModel of its own: assets.extra/nacre.json, the SHA-256 of every file
/// that nacre puts into one. TensorFlow does not look at it.
inline constexpr const char* kMarkFile = "nacre.json";

/// The version of the meta graph (MetaInfoDef, for people to use) in a SavedModel that was written with a
/// mark.
inline constexpr const char* kMarkedGraph = "nacre";

/// The text of that file, of the files that are in `folder`; they are mapped and read once. Equal files give
/// equal bytes. Errors are `path: reason`, kIo.
Result<std::string> saved_model_mark(const std::string& folder);

/// False when FOLDER has no mark: another program wrote it. Errors are `path: reason`: kUnsupported for a
/// mark of a later version, kCorrupt for a file that is not the one that was written, is not there, or came
/// later, and for a mark that is damaged; kIo, kLimit.
Result<bool> check_saved_model_mark(const std::string& folder);

}  // namespace nacre
