#pragma once

#include <functional>
#include <initializer_list>
#include <string>
#include <vector>

#include "schemas/tensorflow/saved_model.pb.h"

namespace nacre {

// SavedModels that tests write node by node. Names, ops and attributes are TensorFlow's.

tensorflow::NodeDef& add(tensorflow::GraphDef& graph, const std::string& name, const std::string& op,
                         const std::vector<std::string>& inputs);

/// A constant of that shape; the last value goes on to its end.
void add_constant(tensorflow::GraphDef& graph, const std::string& name, const std::vector<int64_t>& dims,
                  const std::vector<float>& values);
void add_integers(tensorflow::GraphDef& graph, const std::string& name, const std::vector<int64_t>& dims,
                  const std::vector<int>& values);

/// Writes FOLDER/saved_model.pb: a graph of what `build` adds, with the placeholder "image" of that shape,
/// and the output "out". Without a shape it takes encoded images.
void write_small_graph(const std::string& folder, const std::vector<int64_t>& shape,
                       const std::function<void(tensorflow::GraphDef&)>& build);

/// A network's end behind images `from` of `channels`: their mean, and `classes` scores called `name`, whose
/// kernel is a constant.
void add_head(tensorflow::GraphDef& graph, const std::string& from, int64_t channels, const std::string& name,
              int64_t classes = 4);

/// A function x -> y of `calls` calls of `callee`, one behind the other.
void add_function(tensorflow::MetaGraphDef& meta, const std::string& name, const std::string& callee,
                  int calls = 1);

}  // namespace nacre
