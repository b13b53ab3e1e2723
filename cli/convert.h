#pragma once

#include <optional>
#include <string>

#include "cli/session.h"
#include "engine/status.h"

namespace nacre {

/// What `nacre convert IN --to KIND --out OUT` was told.
struct ConvertOptions {
  std::string in;
  std::string to;   ///< "saved_model", "tf_checkpoint", "bundle" or "checkpoint"
  std::string out;  ///< a folder, the prefix of a TensorFlow checkpoint, or a file
  std::string model;
  std::string labels;             ///< file of class names, one a line
  std::string map;                ///< file that renames variables
  std::string input_size;         ///< "HxW"
  std::string compat;             ///< "" or "reference"
  std::string default_signature;  ///< "" (image), "image" or "float"
  std::string signature;          ///< of a SavedModel that is read; empty: its default
  std::optional<double> scale;    ///< from 8-bit levels to what such a signature of numbers takes
  bool overwrite = false;
  int threads = 1;
};

// One function for each kind of output. Each refuses (kUsage) the options that mean nothing to it.
Status convert_to_saved_model(const Session& session, const ConvertOptions& options);
Status convert_to_tf_checkpoint(const Session& session, const ConvertOptions& options);
Status convert_to_checkpoint(const Session& session, const ConvertOptions& options);
Status convert_to_bundle(const Session& session, const ConvertOptions& options);

}  // namespace nacre
