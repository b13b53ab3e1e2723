#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "engine/bundle.h"
#include "engine/op_def.h"
#include "engine/status.h"
#include "schemas/tensorflow/saved_model.pb.h"
#include "serialize/tensorflow/saved_model_writer.h"

namespace nacre {

/// What signatures that take images call them.
inline constexpr std::string_view kImageKey = "image";
/// The file of class names in a SavedModel's folder `assets`, where the bundle has labels.
inline constexpr std::string_view kLabelsAsset = "labels.txt";

struct SavedModelGraph {
  tensorflow::SavedModel model;
  std::vector<Signature> signatures;   ///< in the order of their names
  std::vector<std::string> variables;  ///< that the graph restores, by the names that they have in the bundle
};

/// What saved_model.pb holds; errors are those of write_saved_model, without the folder.
Result<SavedModelGraph> make_saved_model(const Bundle& bundle, const Registry& registry,
                                         const SavedModelOptions& options);

}  // namespace nacre
