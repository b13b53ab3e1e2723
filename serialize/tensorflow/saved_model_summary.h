#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "engine/bundle.h"
#include "engine/status.h"
#include "serialize/tensorflow/within_folder.h"

namespace nacre {

/// A tensor in a file of TensorFlow's.
struct TensorSummary {
  std::string name;
  std::string type;  ///< "float32", "string", ...
  std::vector<int64_t> shape;
};

/// What is in a SavedModel, whether or not nacre could read its network.
struct SavedModelSummary {
  std::vector<Signature> signatures;  ///< sorted by name; without TensorFlow's own, "__saved_model_init_op"
  std::vector<TensorSummary> variables;
  std::map<std::string, int64_t> ops;  ///< nodes of each op, those of functions too
  size_t functions = 0;
  std::vector<std::string> assets;
  std::string tensorflow_version;  ///< that wrote it
};

/// Reads it; the variables' files are checked as TensorBundle::open does. Errors are its and
/// read_saved_model's.
Result<SavedModelSummary> summarize_saved_model(const std::string& folder);

/// The tensors of a bundle, all of it checked; errors are TensorBundle::open's.
Result<std::vector<TensorSummary>> summarize_tensor_bundle(const BundlePath& path);

}  // namespace nacre
