#pragma once

#include <cstddef>
#include <functional>
#include <string>

#include "engine/status.h"
#include "serialize/tensorflow/flat_graph.h"

namespace nacre {

/// The elements of the variable of VarHandleOp or VariableV2 `node`; null when it is none of floats.
using VariableReader = std::function<Result<std::shared_ptr<const Tensor>>(const FlatNode& node)>;

/// Computes values of nodes from the values of their inputs: constants, variables, and a few dozen ops on
/// them, which is what graphs compute shapes, batch norm and biases with.
class ConstantFolder {
 public:
  /// The most elements of one constant, and of all values but variables.
  static constexpr int64_t kMaxElements = int64_t{1} << 26;
  /// The most of one that is computed, or said by fewer numbers than it has elements: few bytes of a file
  /// must not cost much time.
  static constexpr int64_t kMaxComputed = int64_t{1} << 22;

  explicit ConstantFolder(VariableReader read_variable) : read_variable_(std::move(read_variable)) {}

  /// Sets `node.values` when they can be told: all that the node reads has a value, or it is the Shape of
  /// what has one (FlatNode::settled_shape). Nodes of an unknown op, or with a value that depends on the
  /// number of images, are left without. Errors name the node: kCorrupt for a Const without a value or with
  /// less or more elements than its shape, and for inputs that do not fit the op; kLimit.
  Status fold(FlatNode& node);

 private:
  VariableReader read_variable_;
  int64_t elements_ = 0;  ///< computed so far
};

}  // namespace nacre
