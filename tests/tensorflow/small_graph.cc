#include "tests/tensorflow/small_graph.h"

#include "tests/serialize/test_files.h"

namespace nacre {
namespace {

using tensorflow::GraphDef;
using tensorflow::NodeDef;

tensorflow::TensorProto& add_tensor(GraphDef& graph, const std::string& name, tensorflow::DataType type,
                                    const std::vector<int64_t>& dims) {
  tensorflow::TensorProto& tensor =
      *(*add(graph, name, "Const", {}).mutable_attr())["value"].mutable_tensor();
  tensor.set_dtype(type);
  tensor.mutable_tensor_shape();
  for (const int64_t dim : dims) tensor.mutable_tensor_shape()->add_dim()->set_size(dim);
  return tensor;
}

}  // namespace

NodeDef& add(GraphDef& graph, const std::string& name, const std::string& op,
             const std::vector<std::string>& inputs) {
  NodeDef& node = *graph.add_node();
  node.set_name(name);
  node.set_op(op);
  for (const std::string& input : inputs) node.add_input(input);
  return node;
}

void add_constant(GraphDef& graph, const std::string& name, const std::vector<int64_t>& dims,
                  const std::vector<float>& values) {
  tensorflow::TensorProto& tensor = add_tensor(graph, name, tensorflow::DT_FLOAT, dims);
  for (const float value : values) tensor.add_float_val(value);
}

void add_integers(GraphDef& graph, const std::string& name, const std::vector<int64_t>& dims,
                  const std::vector<int>& values) {
  tensorflow::TensorProto& tensor = add_tensor(graph, name, tensorflow::DT_INT32, dims);
  for (const int value : values) tensor.add_int_val(value);
}

void write_small_graph(const std::string& folder, const std::vector<int64_t>& shape,
                       const std::function<void(GraphDef&)>& build) {
  tensorflow::SavedModel model;
  model.set_saved_model_schema_version(1);
  tensorflow::MetaGraphDef& meta = *model.add_meta_graphs();
  meta.mutable_meta_info_def()->add_tags("serve");
  GraphDef& graph = *meta.mutable_graph_def();
  const tensorflow::DataType type = shape.empty() ? tensorflow::DT_STRING : tensorflow::DT_FLOAT;
  (*add(graph, "image", "Placeholder", {}).mutable_attr())["dtype"].set_type(type);
  build(graph);
  auto& signature = (*meta.mutable_signature_def())["serving_default"];
  auto& input = (*signature.mutable_inputs())["image"];
  input.set_name("image:0");
  input.set_dtype(type);
  for (const int64_t dim : shape) input.mutable_tensor_shape()->add_dim()->set_size(dim);
  auto& output = (*signature.mutable_outputs())["scores"];
  output.set_name("out:0");
  output.set_dtype(tensorflow::DT_FLOAT);
  write_text(folder + "/saved_model.pb", model.SerializeAsString());
}

void add_head(GraphDef& graph, const std::string& from, int64_t channels, const std::string& name,
              int64_t classes) {
  add_integers(graph, name + "/axes", {2}, {1, 2});
  add(graph, name + "/mean", "Mean", {from, name + "/axes"});
  add_constant(graph, name + "/kernel", {channels, classes}, {0.5F});
  add(graph, name, "MatMul", {name + "/mean", name + "/kernel"});
}

void add_function(tensorflow::MetaGraphDef& meta, const std::string& name, const std::string& callee,
                  int calls) {
  auto& function = *meta.mutable_graph_def()->mutable_library()->add_function();
  function.mutable_signature()->set_name(name);
  function.mutable_signature()->add_input_arg()->set_name("x");
  function.mutable_signature()->add_output_arg()->set_name("y");
  std::string at = "x";
  for (int i = 0; i < calls; ++i) {
    tensorflow::NodeDef& call = *function.add_node_def();
    call.set_name("call" + std::to_string(i));
    call.set_op("PartitionedCall");
    call.add_input(at);
    (*call.mutable_attr())["f"].mutable_func()->set_name(callee);
    at = call.name() + ":output:0";
  }
  (*function.mutable_ret())["y"] = at;
}

}  // namespace nacre
