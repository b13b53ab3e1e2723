#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "engine/attributes.h"
#include "engine/op_def.h"
#include "engine/status.h"

namespace nacre {

/// One operation: what, with which attributes, on whose outputs. `inputs` holds names of nodes, or
/// kInputName.
struct Node {
  std::string name;
  std::string op;
  int op_version = 1;
  AttrMap attributes;
  std::vector<std::string> inputs;

  [[nodiscard]] bool operator==(const Node&) const = default;
};

/// The name by which nodes refer to the graph's one input.
inline constexpr std::string_view kInputName = "input";
/// The name of the softmax that the prediction graph ends in.
inline constexpr std::string_view kPredictionName = "prediction";

/// True for 1 to 255 bytes of letters, digits, '_', '-' and '.', not starting with '.': a name that is safe
/// in variable names, files and TensorFlow alike.
bool is_valid_name(std::string_view name);

/// An immutable directed acyclic graph with one input and one output. Knows names and edges only; ops and
/// shapes are checked by Plan. Const: threads may share one.
class Graph {
 public:
  static constexpr size_t kMaxNodes = 1 << 16;

  /// Nodes in any order. Errors (kBadData) name the node: invalid or duplicate name, no input, unknown input,
  /// self edge, cycle, a node that the output does not depend on, more or less than one output. Uses no
  /// recursion.
  static Result<Graph> make(std::vector<Node> nodes);

  /// In topological order; nodes that were given in a valid order keep it.
  [[nodiscard]] const std::vector<Node>& nodes() const { return nodes_; }
  /// producers()[i][j]: index of the node that feeds input j of node i, or -1 for the graph's input.
  [[nodiscard]] const std::vector<std::vector<int>>& producers() const { return producers_; }
  /// The last node: the one whose output no node reads.
  [[nodiscard]] const Node& output() const { return nodes_.back(); }

 private:
  std::vector<Node> nodes_;
  std::vector<std::vector<int>> producers_;
};

/// The graph redrawn for prediction: without training-only nodes (their readers read what they read), and
/// with a Softmax named "prediction" at the end unless the output is a Softmax already. Kernels' variable
/// names stay the same.
Result<Graph> redraw_for_prediction(const Graph& graph, const Registry& registry);

}  // namespace nacre
