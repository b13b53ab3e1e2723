#include "serialize/tensorflow/network_graph.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace nacre {
namespace {

Status check_names(const Graph& graph) {
  for (const Node& node : graph.nodes()) {
    if (node.name.front() != '_' && node.name.front() != '-') continue;
    return {StatusCode::kUnsupported,
            fmt::format("node {:?}: TensorFlow's names begin with a letter, a digit or '.'", node.name)};
  }
  return {};
}

}  // namespace

NetworkGraph::NetworkGraph(const Bundle& bundle, Plan plan)
    : bundle_(&bundle), plan_(std::move(plan)), variables_(plan_.variables()) {
  std::ranges::sort(variables_, {}, &PlannedVariable::name);
}

Result<NetworkGraph> NetworkGraph::make(const Bundle& bundle, const Registry& registry) {
  NACRE_RETURN_IF_ERROR(check_names(bundle.graph));
  PlanOptions options;
  options.fuse = false;  // a unit is a node then
  const InputContract& contract = bundle.contract;
  NACRE_ASSIGN_OR_RETURN(
      Plan plan,
      Plan::make(bundle.graph, registry, Shape{contract.height, contract.width, contract.channels}, options));
  NACRE_RETURN_IF_ERROR(plan.check_variables(bundle.variables));
  if (plan.variables().empty()) {
    return Status(StatusCode::kUnsupported, "the network has no variables, which a SavedModel restores");
  }
  if (plan.output_shape().rank() != 2) {
    return Status(StatusCode::kBadData, fmt::format("the network's output is {}, expected [N, classes]",
                                                    plan.output_shape().to_string()));
  }
  return NetworkGraph(bundle, std::move(plan));
}

Status NetworkGraph::add_variables(GraphBuilder& graph) {
  for (const PlannedVariable& variable : variables_) {
    tensorflow::NodeDef& handle = graph.node("VarHandleOp", variable.name, {});
    if (handle.name() != variable.name) {
      return {StatusCode::kInternal, fmt::format("variable {:?}: its name is taken", variable.name)};
    }
    set_type(handle, "dtype", tensorflow::DT_FLOAT);
    set_shape(handle, "shape", variable.shape.dims());
    // Without it variables of one session would be one and the same.
    set_text(handle, "shared_name", variable.name);
    tensorflow::NodeDef& read = graph.node("ReadVariableOp", read_of(variable.name), {variable.name});
    set_type(read, "dtype", tensorflow::DT_FLOAT);
  }
  return {};
}

Result<std::string> NetworkGraph::add_copy(GraphBuilder& graph, const std::string& prefix,
                                           const std::string& input) const {
  const std::string prediction = prefix + std::string(kPredictionName);
  const std::vector<Node>& nodes = bundle_->graph.nodes();
  std::vector<std::string> values{input};  // value i + 1 is the output of unit i
  for (size_t i = 0; i < nodes.size(); ++i) {
    const Unit& unit = plan_.units()[i];
    const bool last = i + 1 == nodes.size();
    std::vector<Shape> shapes;
    DescribeRequest request{.scope = prefix + nodes[i].name,
                            .attributes = nodes[i].attributes,
                            .inputs = {},
                            .shapes = {},
                            .variables = {}};
    if (last) request.scope = prediction;
    // Only the network's output has that name.
    if (!last && request.scope == prediction) request.scope += "_layer";
    for (const int value : unit.inputs) {
      request.inputs.push_back(values[static_cast<size_t>(value)]);
      shapes.push_back(value == 0 ? plan_.input_shape()
                                  : plan_.units()[static_cast<size_t>(value - 1)].operation->info().output);
    }
    request.shapes = shapes;
    for (const int variable : unit.variables) {
      request.variables.push_back(read_of(plan_.variables()[static_cast<size_t>(variable)].name));
    }
    const std::string place = fmt::format("node {:?} ({})", nodes[i].name, nodes[i].op);
    if (unit.op->to_tensorflow == nullptr) {
      return Status(StatusCode::kUnsupported, place + ": the op does not say what it is in TensorFlow");
    }
    auto output = unit.op->to_tensorflow(request, graph);
    if (!output.ok()) return output.status().at(place);
    NACRE_RETURN_IF_ERROR(graph.check_size());
    values.push_back(std::move(output).value());
  }
  if (values.back() == prediction) return prediction;
  return graph.add("Identity", prediction, {values.back()}, {{"T", TfType::kFloat}});
}

}  // namespace nacre
