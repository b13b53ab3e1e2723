#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/node_view.h"
#include "engine/status.h"
#include "schemas/tensorflow/saved_model.pb.h"

namespace nacre {

// Ops that are not TensorFlow's, which FlatGraph::make puts in place of what they sum up.

/// The tensor that the signature takes.
inline constexpr std::string_view kInputOp = "_Input";
/// One image's element of its input, a batch.
inline constexpr std::string_view kElementOp = "_Element";
/// The batch that its input, computed of one element, makes for all of them.
inline constexpr std::string_view kMapOp = "_Map";

class FlatGraph;

/// A node of a FlatGraph.
class FlatNode final : public NodeView {
 public:
  [[nodiscard]] std::string_view name() const override { return def->name(); }
  [[nodiscard]] std::string_view op() const override { return op_name; }
  [[nodiscard]] size_t inputs() const override { return sources.size(); }
  [[nodiscard]] const FlatNode& input(size_t i) const override { return *sources[i].node; }
  [[nodiscard]] int input_port(size_t i) const override { return sources[i].port; }
  [[nodiscard]] const FoldedTensor* constant(size_t i) const override {
    return sources[i].node->value(sources[i].port);
  }
  [[nodiscard]] bool is_activation(size_t i) const override { return sources[i].node->depends_on_input; }
  [[nodiscard]] const std::vector<const NodeView*>& readers() const override { return reading; }
  [[nodiscard]] bool is_output() const override { return output; }
  [[nodiscard]] const Shape* shape() const override {
    return settled_shape.has_value() ? &*settled_shape : nullptr;
  }
  [[nodiscard]] std::optional<AttrValue> attribute(std::string_view name) const override;

  /// The value of output `port`; null when there is none.
  [[nodiscard]] const FoldedTensor* value(int port) const {
    const auto at = static_cast<size_t>(port);
    return at < values.size() ? values[at].get() : nullptr;
  }
  /// `node "NAME" (OP)`, for messages.
  [[nodiscard]] std::string described() const;

  struct Source {
    FlatNode* node = nullptr;
    int port = 0;
  };
  const tensorflow::NodeDef* def = nullptr;
  std::string op_name;
  std::vector<Source> sources;
  std::vector<const NodeView*> reading;
  bool output = false;
  bool depends_on_input = false;
  std::optional<Shape> settled_shape;
  std::vector<std::unique_ptr<FoldedTensor>> values;  ///< by port
};

/// What a signature computes, as one graph: only the nodes that its output needs, without function calls,
/// loops over images (kMapOp), control edges, and nodes that pass their input on. Nothing is executed.
class FlatGraph {
 public:
  static constexpr size_t kMaxNodes = size_t{1} << 16;
  static constexpr size_t kMaxFrames = size_t{1} << 14;  ///< function calls, each counted where it is called
  static constexpr int kMaxCallDepth = 64;
  /// Steps from an input to the node behind it, in all.
  static constexpr size_t kMaxSteps = size_t{1} << 22;

  /// `meta` must outlive the graph. Errors name the node: kCorrupt for what is no graph (an unknown or
  /// duplicate name, a cycle, a function that calls itself, calls that are nested too deeply or multiply),
  /// kUnsupported for a signature with several inputs or outputs, and for loops of another kind; kLimit.
  static Result<std::unique_ptr<FlatGraph>> make(const tensorflow::MetaGraphDef& meta,
                                                 const std::string& signature);

  /// In topological order.
  std::vector<FlatNode*> nodes;
  FlatNode* input = nullptr;   ///< kInputOp
  FlatNode* output = nullptr;  ///< its first output is the signature's
  const tensorflow::SignatureDef* signature = nullptr;
  std::deque<FlatNode> storage;
};

}  // namespace nacre
