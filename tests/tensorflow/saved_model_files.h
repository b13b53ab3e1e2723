#pragma once

#include <functional>
#include <string>
#include <vector>

#include "engine/bundle.h"
#include "engine/op_def.h"
#include "schemas/tensorflow/saved_model.pb.h"
#include "tests/serialize/test_files.h"

namespace nacre {

/// A bundle of that network with variables that differ everywhere; no golden vectors.
Bundle bundle_of(const std::string& name, const Graph& training_graph, const InputContract& contract,
                 const Registry& registry);
/// Of a preset, for three classes.
Bundle preset_bundle(const std::string& preset, const Registry& registry);

/// An empty folder for this test.
std::string test_folder();

/// FOLDER/saved_model.pb, changed by `change`.
void change_saved_model(const std::string& folder,
                        const std::function<void(tensorflow::MetaGraphDef&)>& change);

/// The node of that name; the test fails when there is none.
tensorflow::NodeDef& node_of(tensorflow::MetaGraphDef& meta, const std::string& name);
/// The first node with that op, of the graph, then of its functions.
tensorflow::NodeDef& node_with_op(tensorflow::MetaGraphDef& meta, const std::string& op);

/// Of the processor's time that this thread has used, so that a busy machine does not count.
double thread_seconds();

/// Within which an import ends, whatever the file says.
#ifdef __SANITIZE_ADDRESS__
inline constexpr double kMaxImportSeconds = 10;
#else
inline constexpr double kMaxImportSeconds = 1;
#endif

}  // namespace nacre
