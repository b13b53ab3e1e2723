#pragma once

#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/graph_sink.h"
#include "engine/shape.h"
#include "engine/status.h"
#include "schemas/tensorflow/graph.pb.h"

// Graphs of TensorFlow's, node by node. Internal to serialize/tensorflow: it shows protobuf's classes.

namespace nacre {

/// An extent that a shape leaves open.
inline constexpr int64_t kAnyExtent = -1;

tensorflow::TensorShapeProto shape_proto(std::span<const int64_t> dims);

// Attributes. A node has those that have no default in TensorFlow, and those that are not at it.
void set_type(tensorflow::NodeDef& node, const std::string& name, tensorflow::DataType type);
void set_types(tensorflow::NodeDef& node, const std::string& name,
               const std::vector<tensorflow::DataType>& types);
void set_shape(tensorflow::NodeDef& node, const std::string& name, std::span<const int64_t> dims);
void set_shapes(tensorflow::NodeDef& node, const std::string& name,
                const std::vector<std::vector<int64_t>>& shapes);
void set_int(tensorflow::NodeDef& node, const std::string& name, int64_t value);
void set_flag(tensorflow::NodeDef& node, const std::string& name);
void set_text(tensorflow::NodeDef& node, const std::string& name, const std::string& text);
void set_ints(tensorflow::NodeDef& node, const std::string& name, std::span<const int64_t> values);
void set_function(tensorflow::NodeDef& node, const std::string& name, const std::string& function);

// Makes `node`, a Const, of these values: all elements of the shape, row-major.
void set_constant(tensorflow::NodeDef& node, std::span<const int64_t> dims, std::span<const float> values);
void set_constant(tensorflow::NodeDef& node, std::span<const int64_t> dims, std::span<const int32_t> values);
void set_constant(tensorflow::NodeDef& node, std::span<const int64_t> dims,
                  std::span<const std::string> values);

/// Adds nodes to a GraphDef, which must outlive it. A name that is taken gets a number behind it.
class GraphBuilder final : public GraphSink {
 public:
  static constexpr size_t kMaxNodes = size_t{1} << 18;

  explicit GraphBuilder(tensorflow::GraphDef& graph) : graph_(graph) {}

  /// A node without attributes. The reference holds until the next node is added. Beyond kMaxNodes it is a
  /// node of no graph; check_size says so.
  tensorflow::NodeDef& node(std::string_view op, const std::string& name, std::vector<std::string> inputs);
  /// How other nodes name output `argument` of `node`, here its first.
  static std::string output(const tensorflow::NodeDef& node, std::string_view /*argument*/) {
    return node.name();
  }
  [[nodiscard]] bool has(const std::string& name) const { return names_.contains(name); }

  std::string add(std::string_view op, const std::string& name, std::vector<std::string> inputs,
                  const TfAttributes& attributes) override;
  std::string constant(const std::string& name, const Shape& shape, std::span<const float> values) override;
  std::string constant(const std::string& name, const Shape& shape, std::span<const int32_t> values) override;
  std::string constant(const std::string& name, std::span<const int64_t> dims,
                       std::span<const std::string> values);

  /// kLimit when there are more than kMaxNodes.
  [[nodiscard]] Status check_size() const;

 private:
  tensorflow::GraphDef& graph_;
  std::set<std::string> names_;
  std::map<std::string, int> next_number_;
  tensorflow::NodeDef beyond_;
};

/// Adds nodes to a FunctionDef, which must outlive it. Names are given once each.
class FunctionBuilder {
 public:
  struct Argument {
    std::string_view name;
    tensorflow::DataType type;
  };

  FunctionBuilder(tensorflow::FunctionDef& function, const std::string& name,
                  std::span<const Argument> inputs);

  tensorflow::NodeDef& node(std::string_view op, const std::string& name, std::vector<std::string> inputs);
  /// How other nodes name output `argument` (TensorFlow's name of it) of `node`.
  static std::string output(const tensorflow::NodeDef& node, std::string_view argument) {
    return node.name() + ":" + std::string(argument) + ":0";
  }
  /// The function's next result.
  void returns(const Argument& argument, const std::string& tensor);

 private:
  tensorflow::FunctionDef& function_;
};

}  // namespace nacre
