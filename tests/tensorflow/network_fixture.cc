#include "tests/tensorflow/network_fixture.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include "engine/plan.h"
#include "layers/model_file.h"
#include "layers/registry.h"

namespace nacre {
namespace {

template <typename Nodes>
const tensorflow::NodeDef& find_node(const Nodes& nodes, const std::string& name) {
  for (const auto& node : nodes) {
    if (node.name() == name) return node;
  }
  ADD_FAILURE() << "no node " << name;
  return tensorflow::NodeDef::default_instance();
}

}  // namespace

Bundle make_bundle(std::string_view layers, std::string_view input) {
  const Registry registry = builtin_ops();
  const std::string json = fmt::format(
      R"({{"name": "small", "input": {{"height": 6, "width": 5, "channels": 3{}}}, "layers": {}}})", input,
      layers);
  auto model = parse_model(json, "test", registry);
  EXPECT_TRUE(model.ok()) << model.status().message();
  auto training = build_graph(*model, 3, registry);
  EXPECT_TRUE(training.ok()) << training.status().message();
  Bundle bundle;
  bundle.name = model->name;
  bundle.contract = model->input;
  bundle.contract.labels = {"anna", "bert", "cleo"};
  bundle.graph = *redraw_for_prediction(*training, registry);
  const InputContract& contract = bundle.contract;
  const auto plan = Plan::make(bundle.graph, registry,
                               Shape{contract.height, contract.width, contract.channels}, PlanOptions{});
  EXPECT_TRUE(plan.ok()) << plan.status().message();
  bundle.variables = plan->initial_variables(1);
  for (const char* name : {"one", "two"}) {
    GoldenVector golden;
    golden.name = name;
    for (const char letter : golden.name) golden.image.push_back(static_cast<std::byte>(letter));
    golden.prediction = {0.5F, 0.25F, 0.25F};
    bundle.golden.push_back(std::move(golden));
  }
  return bundle;
}

const tensorflow::NodeDef& node_of(const tensorflow::GraphDef& graph, const std::string& name) {
  return find_node(graph.node(), name);
}

const tensorflow::NodeDef& node_of(const tensorflow::FunctionDef& function, const std::string& name) {
  return find_node(function.node_def(), name);
}

std::string call_of(const tensorflow::NodeDef& node) {
  return fmt::format("{}({})", node.op(), fmt::join(node.input(), ", "));
}

}  // namespace nacre
