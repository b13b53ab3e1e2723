#pragma once

#include <set>
#include <string>
#include <string_view>

#include "engine/status.h"
#include "serialize/tensorflow/tensor_names.h"

namespace nacre {

/// Ends a message about names that differ.
inline constexpr std::string_view kMapHint = "--map FILE can name variables";

/// Reads the file of --map: a JSON object whose keys are names of nacre's and whose values are the tensors'
/// names in a TensorFlow checkpoint. An empty path is an empty map. kBadData `FILE: reason` when it is
/// anything else, or two keys have one value; kIo.
Result<NameMap> read_name_map(const std::string& path);

/// kBadData, listing what is known, when a key is none of `known`.
Status check_name_map(const NameMap& map, const std::set<std::string, std::less<>>& known,
                      const std::string& path);

}  // namespace nacre
