#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/attributes.h"
#include "engine/shape.h"
#include "engine/tensor.h"

namespace nacre {

/// A tensor of a foreign graph that does not depend on the graph's input: a constant, a variable, or what
/// follows from them. Elements are row-major.
struct FoldedTensor {
  Shape shape;
  /// The elements of a tensor of floats (of any shape with as many elements); null for the others.
  std::shared_ptr<const Tensor> floats;
  std::vector<int64_t> ints;  ///< those of integers and booleans; kBatch stands for the number of images
  /// The variable whose elements these are, all or some, in their order; empty when they were computed.
  std::string variable;

  static constexpr int64_t kBatch = -1;

  [[nodiscard]] std::span<const float> values() const {
    return floats == nullptr ? std::span<const float>()
                             : std::span(floats->data(), static_cast<size_t>(floats->size()));
  }
};

/// A node of a foreign graph, as a layer sees it that looks whether the node is meant by it
/// (OpDef::from_tensorflow). The graph is that of one signature: function calls are inlined; what passes its
/// input on (Identity and the like, reads of variables) and control edges are left out. Nodes come in
/// topological order, so that all that a node reads is known: either it has a value, or a layer's output.
/// Op names, attributes and the order of inputs are TensorFlow's. Nodes are compared by address.
class NodeView {
 public:
  NodeView() = default;
  virtual ~NodeView() = default;
  NodeView(const NodeView&) = delete;
  NodeView& operator=(const NodeView&) = delete;

  [[nodiscard]] virtual std::string_view name() const = 0;
  [[nodiscard]] virtual std::string_view op() const = 0;

  /// Data inputs: whose output, and which of its outputs. `i` < inputs().
  [[nodiscard]] virtual size_t inputs() const = 0;
  [[nodiscard]] virtual const NodeView& input(size_t i) const = 0;
  [[nodiscard]] virtual int input_port(size_t i) const = 0;
  /// The value of input i; null when it depends on the graph's input, or cannot be told.
  [[nodiscard]] virtual const FoldedTensor* constant(size_t i) const = 0;
  /// True when input i depends on the graph's input.
  [[nodiscard]] virtual bool is_activation(size_t i) const = 0;

  /// Who reads this node's outputs, once for each edge; reads of the shape do not count.
  [[nodiscard]] virtual const std::vector<const NodeView*>& readers() const = 0;
  /// True for the node that the graph's output is.
  [[nodiscard]] virtual bool is_output() const = 0;
  /// The shape [1, ...] of what a layer was recognised to end in; null for other nodes.
  [[nodiscard]] virtual const Shape* shape() const = 0;

  /// An attribute of the kinds that AttrValue has; nothing when it is not there or of another kind.
  [[nodiscard]] virtual std::optional<AttrValue> attribute(std::string_view name) const = 0;

  /// The one reader of a node whose output nobody else needs; else null.
  [[nodiscard]] const NodeView* only_reader() const {
    return readers().size() == 1 && !is_output() ? readers().front() : nullptr;
  }
};

/// A layer that was recognised in a foreign graph.
struct RecognizedLayer {
  AttrMap attributes;
  std::vector<const NodeView*> inputs;  ///< the activations that it reads, in order
  const NodeView* output = nullptr;     ///< the node whose output the layer's is
  /// All nodes that the layer stands for; of several layers that recognise a node, the one with the most
  /// takes it.
  std::vector<const NodeView*> covered;
  std::map<std::string, FoldedTensor> variables;  ///< by their names: "kernel"
  /// True when it does nothing in inference: its readers read what it reads. `attributes` do not count then.
  bool identity = false;
  int64_t expected_row = 0;  ///< elements of a row that the foreign graph says the output has; 0: not said
};

}  // namespace nacre
