#pragma once

#include <string>
#include <vector>

#include "engine/bundle.h"
#include "engine/op_def.h"
#include "engine/status.h"
#include "serialize/tensorflow/saved_model_import.h"

namespace nacre {

struct VersionModel {
  Bundle bundle;
  std::vector<std::string> notes;  ///< what the operator should know of it, such as what was assumed
  ImportedSignatures signatures;   ///< of a SavedModel
};

/// The model in a version folder: its one `*.nacre` bundle, or a SavedModel of ops that nacre knows with the
/// labels in its assets, and which of its signatures are answered. Everything is in memory (nothing is
/// mapped) and verified down to the digest. Errors are `path: reason`: kBadData when the folder holds neither
/// or more than one model, and those of open_bundle, import_saved_model, parse_labels and
/// make_prediction_bundle.
Result<VersionModel> read_version_model(const std::string& name, const std::string& folder,
                                        const Registry& registry);

}  // namespace nacre
