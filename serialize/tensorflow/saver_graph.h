#pragma once

#include <vector>

#include "engine/plan.h"
#include "schemas/tensorflow/saved_model.pb.h"
#include "serialize/tensorflow/graph_builder.h"

namespace nacre {

/// Adds the nodes by which TensorFlow restores `variables` (in the order of their names) from a tensor bundle
/// and saves them, and says so in the SaverDef and in the collections `variables` and `trainable_variables`.
/// The variables are in the graph already (NetworkGraph::add_variables).
void add_saver(GraphBuilder& graph, const std::vector<PlannedVariable>& variables,
               tensorflow::MetaGraphDef& meta_graph);

}  // namespace nacre
