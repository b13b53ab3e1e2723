#pragma once

#include <string>
#include <vector>

#include "engine/bundle.h"
#include "engine/status.h"

namespace nacre {

/// The folder and the file in it where TensorFlow Serving looks for requests that it sends itself before a
/// model takes others.
inline constexpr const char* kExtraFolder = "assets.extra";
inline constexpr const char* kWarmupFile = "tf_serving_warmup_requests";

/// The golden vectors as that file: a PredictionLog each, of signature kEncodedSignature, with the request
/// and, which TensorFlow Serving does not look at, the answer that is expected. kLimit for a record too
/// large.
Result<std::string> warmup_records(const std::vector<GoldenVector>& golden);

/// The golden vectors in SAVED_MODEL/assets.extra/tf_serving_warmup_requests: the records as warmup_records
/// writes them. Others, which have no answer or are of another signature, are left out; none without the
/// file. Errors are `path: reason`: kIo, kLimit (64 MiB), and kCorrupt for a record that is damaged
/// and for a file outside the folder (check_within_folder).
Result<std::vector<GoldenVector>> read_warmup_records(const std::string& saved_model);

}  // namespace nacre
