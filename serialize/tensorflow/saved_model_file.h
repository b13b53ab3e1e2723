#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "engine/status.h"
#include "schemas/tensorflow/saved_model.pb.h"

namespace nacre {

/// The largest saved_model.pb that is read, in bytes.
inline constexpr size_t kMaxSavedModelBytes = size_t{64} << 20;
/// How deep its messages may be nested.
inline constexpr int kMaxMessageDepth = 64;

/// The name of what is no signature: what TensorFlow's loader runs at start; it takes nothing.
inline constexpr std::string_view kInitSignature = "__saved_model_init_op";

/// "FOLDER/saved_model.pb"
std::string saved_model_path(const std::string& folder);
/// "FOLDER/variables/variables": the prefix of its tensor bundle.
std::string saved_model_variables(const std::string& folder);

/// The one MetaGraph of FOLDER/saved_model.pb that is tagged `serve`. Errors are `path: reason`: kCorrupt
/// when the file is no SavedModel or lies outside the folder (check_within_folder), kUnsupported for another
/// version of it, kBadData when no MetaGraph has the tag, kLimit, kIo.
Result<tensorflow::MetaGraphDef> read_saved_model(const std::string& folder);

/// The signature of that name; of an empty name, `serving_default`, or the only one that predicts. kBadData
/// lists those that are there.
Result<std::string> pick_signature(const tensorflow::MetaGraphDef& meta, const std::string& name);

}  // namespace nacre
