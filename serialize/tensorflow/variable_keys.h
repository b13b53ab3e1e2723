#pragma once

#include <map>
#include <string>
#include <string_view>

#include "engine/status.h"
#include "schemas/tensorflow/saved_model.pb.h"

namespace nacre {

/// The name of the string tensor in the bundle that lists a TF2 SavedModel's objects.
inline constexpr std::string_view kObjectGraphKey = "_CHECKPOINTABLE_OBJECT_GRAPH";

/// Which tensor of the bundle a variable of the graph is: names of nodes -> keys. Never found by walking the
/// nodes that restore. Variables of TF1 have their own name for a key and need no entry; those of TF2 are
/// found by the objects that calls of functions in the graph are bound to (SavedObjectGraph), whose keys the
/// bundle's own list of objects holds (`objects`, the contents of kObjectGraphKey; empty when there is none).
/// kCorrupt when a list is damaged.
Result<std::map<std::string, std::string, std::less<>>> find_variable_keys(
    const tensorflow::MetaGraphDef& meta, const std::string& objects);

}  // namespace nacre
