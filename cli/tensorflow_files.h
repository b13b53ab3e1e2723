#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/status.h"
#include "serialize/tensorflow/within_folder.h"

namespace nacre {

/// A SavedModel, or a checkpoint of TensorFlow's.
struct TensorflowFile {
  bool saved_model = false;
  std::string path;    ///< the SavedModel's folder, or the checkpoint's prefix
  std::string root{};  ///< of a checkpoint, as BundlePath has it

  /// Where its variables are.
  [[nodiscard]] BundlePath bundle() const;
};

/// What `path` is in TensorFlow: a folder with saved_model.pb; else the prefix of a checkpoint, its index, or
/// a folder with a file `checkpoint` (its latest). Nothing for nacre's own files and for what is not there.
Result<std::optional<TensorflowFile>> find_tensorflow_file(const std::string& path);

/// The class names that nacre writes into a SavedModel's folder, checked as a file of labels is; none when it
/// has no such file.
Result<std::vector<std::string>> labels_of_saved_model(const std::string& folder);

}  // namespace nacre
