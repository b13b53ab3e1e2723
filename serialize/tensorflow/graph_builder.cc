#include "serialize/tensorflow/graph_builder.h"

#include <fmt/format.h>

#include <utility>

namespace nacre {
namespace {

tensorflow::AttrValue& attribute(tensorflow::NodeDef& node, const std::string& name) {
  return (*node.mutable_attr())[name];
}

/// Starts the tensor of a Const.
tensorflow::TensorProto& start_constant(tensorflow::NodeDef& node, std::span<const int64_t> dims,
                                        tensorflow::DataType type) {
  set_type(node, "dtype", type);
  tensorflow::TensorProto& tensor = *attribute(node, "value").mutable_tensor();
  tensor.set_dtype(type);
  *tensor.mutable_tensor_shape() = shape_proto(dims);
  return tensor;
}

/// `values`, or the one value as often as `shape` asks.
template <typename T>
std::vector<T> spread(const Shape& shape, std::span<const T> values) {
  if (values.size() == 1) return std::vector<T>(static_cast<size_t>(shape.num_elements()), values[0]);
  return {values.begin(), values.end()};
}

struct AttributeSetter {
  tensorflow::NodeDef& node;
  const std::string& name;

  void operator()(bool value) const { attribute(node, name).set_b(value); }
  void operator()(int64_t value) const { set_int(node, name, value); }
  void operator()(float value) const { attribute(node, name).set_f(value); }
  void operator()(const std::string& value) const { set_text(node, name, value); }
  void operator()(TfType value) const { set_type(node, name, static_cast<tensorflow::DataType>(value)); }
  void operator()(const std::vector<int64_t>& value) const { set_ints(node, name, value); }
};

}  // namespace

tensorflow::TensorShapeProto shape_proto(std::span<const int64_t> dims) {
  tensorflow::TensorShapeProto shape;
  for (const int64_t extent : dims) shape.add_dim()->set_size(extent);
  return shape;
}

void set_type(tensorflow::NodeDef& node, const std::string& name, tensorflow::DataType type) {
  attribute(node, name).set_type(type);
}

void set_types(tensorflow::NodeDef& node, const std::string& name,
               const std::vector<tensorflow::DataType>& types) {
  // There even when empty: the attribute is a list then.
  auto* list = attribute(node, name).mutable_list();
  for (const tensorflow::DataType type : types) list->add_type(type);
}

void set_shape(tensorflow::NodeDef& node, const std::string& name, std::span<const int64_t> dims) {
  *attribute(node, name).mutable_shape() = shape_proto(dims);
}

void set_shapes(tensorflow::NodeDef& node, const std::string& name,
                const std::vector<std::vector<int64_t>>& shapes) {
  auto* list = attribute(node, name).mutable_list();
  for (const auto& dims : shapes) *list->add_shape() = shape_proto(dims);
}

void set_int(tensorflow::NodeDef& node, const std::string& name, int64_t value) {
  attribute(node, name).set_i(value);
}

void set_flag(tensorflow::NodeDef& node, const std::string& name) {
  attribute(node, name).set_b(true);
}

void set_text(tensorflow::NodeDef& node, const std::string& name, const std::string& text) {
  attribute(node, name).set_s(text);
}

void set_ints(tensorflow::NodeDef& node, const std::string& name, std::span<const int64_t> values) {
  auto* list = attribute(node, name).mutable_list();
  for (const int64_t value : values) list->add_i(value);
}

void set_function(tensorflow::NodeDef& node, const std::string& name, const std::string& function) {
  attribute(node, name).mutable_func()->set_name(function);
}

void set_constant(tensorflow::NodeDef& node, std::span<const int64_t> dims, std::span<const float> values) {
  auto& tensor = start_constant(node, dims, tensorflow::DT_FLOAT);
  for (const float value : values) tensor.add_float_val(value);
}

void set_constant(tensorflow::NodeDef& node, std::span<const int64_t> dims, std::span<const int32_t> values) {
  auto& tensor = start_constant(node, dims, tensorflow::DT_INT32);
  for (const int32_t value : values) tensor.add_int_val(value);
}

void set_constant(tensorflow::NodeDef& node, std::span<const int64_t> dims,
                  std::span<const std::string> values) {
  auto& tensor = start_constant(node, dims, tensorflow::DT_STRING);
  for (const std::string& value : values) tensor.add_string_val(value);
}

tensorflow::NodeDef& GraphBuilder::node(std::string_view op, const std::string& name,
                                        std::vector<std::string> inputs) {
  if (names_.size() > kMaxNodes) return beyond_;
  std::string free = name;
  while (!names_.insert(free).second) free = fmt::format("{}_{}", name, ++next_number_[name]);
  tensorflow::NodeDef& node = *graph_.add_node();
  node.set_name(std::move(free));
  node.set_op(std::string(op));
  for (std::string& input : inputs) node.add_input(std::move(input));
  return node;
}

std::string GraphBuilder::add(std::string_view op, const std::string& name, std::vector<std::string> inputs,
                              const TfAttributes& attributes) {
  tensorflow::NodeDef& added = node(op, name, std::move(inputs));
  for (const auto& [key, value] : attributes) std::visit(AttributeSetter{added, std::string(key)}, value);
  return added.name();
}

std::string GraphBuilder::constant(const std::string& name, const Shape& shape,
                                   std::span<const float> values) {
  tensorflow::NodeDef& added = node("Const", name, {});
  set_constant(added, shape.dims(), std::span<const float>(spread(shape, values)));
  return added.name();
}

std::string GraphBuilder::constant(const std::string& name, const Shape& shape,
                                   std::span<const int32_t> values) {
  tensorflow::NodeDef& added = node("Const", name, {});
  set_constant(added, shape.dims(), std::span<const int32_t>(spread(shape, values)));
  return added.name();
}

std::string GraphBuilder::constant(const std::string& name, std::span<const int64_t> dims,
                                   std::span<const std::string> values) {
  tensorflow::NodeDef& added = node("Const", name, {});
  set_constant(added, dims, values);
  return added.name();
}

Status GraphBuilder::check_size() const {
  if (names_.size() <= kMaxNodes) return {};
  return {StatusCode::kLimit, fmt::format("the graph has more than {} nodes in TensorFlow", kMaxNodes)};
}

FunctionBuilder::FunctionBuilder(tensorflow::FunctionDef& function, const std::string& name,
                                 std::span<const Argument> inputs)
    : function_(function) {
  tensorflow::OpDef& signature = *function_.mutable_signature();
  signature.set_name(name);
  for (const Argument& input : inputs) {
    auto& argument = *signature.add_input_arg();
    argument.set_name(std::string(input.name));
    argument.set_type(input.type);
  }
}

tensorflow::NodeDef& FunctionBuilder::node(std::string_view op, const std::string& name,
                                           std::vector<std::string> inputs) {
  tensorflow::NodeDef& node = *function_.add_node_def();
  node.set_name(name);
  node.set_op(std::string(op));
  for (std::string& input : inputs) node.add_input(std::move(input));
  return node;
}

void FunctionBuilder::returns(const Argument& argument, const std::string& tensor) {
  auto& result = *function_.mutable_signature()->add_output_arg();
  result.set_name(std::string(argument.name));
  result.set_type(argument.type);
  (*function_.mutable_ret())[std::string(argument.name)] = tensor;
}

}  // namespace nacre
