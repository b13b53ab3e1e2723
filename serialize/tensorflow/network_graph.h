#pragma once

#include <string>
#include <vector>

#include "engine/bundle.h"
#include "engine/op_def.h"
#include "engine/plan.h"
#include "engine/status.h"
#include "serialize/tensorflow/graph_builder.h"

namespace nacre {

/// A bundle's network as a graph of TensorFlow's: variables once, and copies of the network on them, one for
/// each way that its input comes in. Borrows bundle and registry.
class NetworkGraph {
 public:
  /// Errors are those of Plan, kUnsupported for names that TensorFlow refuses (they begin with '_' or '-'),
  /// and for a network without variables, which has nothing to restore.
  static Result<NetworkGraph> make(const Bundle& bundle, const Registry& registry);

  /// Adds every variable as a resource, and its read: `conv1/kernel` and `conv1/kernel/read`. Before all
  /// else, so that these names are free.
  Status add_variables(GraphBuilder& graph);

  /// Adds a copy of the network on `input`, a tensor [N, height, width, channels], and returns its output
  /// [N, classes], which is called prefix + "prediction". Nodes' names begin with `prefix` and the layer's
  /// name. Errors name the layer.
  Result<std::string> add_copy(GraphBuilder& graph, const std::string& prefix,
                               const std::string& input) const;

  /// In the order of their names.
  [[nodiscard]] const std::vector<PlannedVariable>& variables() const { return variables_; }
  [[nodiscard]] int64_t classes() const { return plan_.output_shape()[1]; }
  /// The tensor that reads a variable.
  static std::string read_of(const std::string& variable) { return variable + "/read"; }

 private:
  NetworkGraph(const Bundle& bundle, Plan plan);

  const Bundle* bundle_;
  Plan plan_;
  std::vector<PlannedVariable> variables_;
};

}  // namespace nacre
