#include <gmock/gmock.h>

#include "engine/executor.h"
#include "layer_runner.h"
#include "layer_test.h"
#include "layers/registry.h"

namespace nacre {
namespace {

using ::testing::ElementsAre;

LayerCase layer(const std::vector<Shape>& inputs, const Shape& output, const AttrMap& attributes = {}) {
  return {"Concat", {attributes}, inputs, output};
}

INSTANTIATE_TEST_SUITE_P(
    Concat, LayerTest,
    ::testing::Values(layer({{1, 1}, {1, 1}}, {1, 2}), layer({{5, 13}, {5, 1}, {5, 4}}, {5, 18}),
                      layer({{2, 5, 7, 3}, {2, 5, 7, 5}}, {2, 5, 7, 8}, {{"axis", int64_t{3}}}),
                      layer({{3, 9001}, {3, 20000}}, {3, 29001}, {{"axis", int64_t{-1}}}),
                      layer({{2, 71, 33, 6}, {2, 71, 33, 1}, {2, 71, 33, 2}}, {2, 71, 33, 9})));

INSTANTIATE_TEST_SUITE_P(
    Concat, RefusalTest,
    ::testing::Values(RefusalCase{layer({{2, 3, 4}, {2, 5, 4}}, {}), "[N, 3, 4] and [N, 5, 4]"},
                      RefusalCase{layer({{2, 3, 3, 1}, {2, 3, 3}}, {}), "[N, 3, 3, 1] and [N, 3, 3]"},
                      RefusalCase{layer({{2}, {2}}, {}), "[N, ..., channels]"},
                      RefusalCase{layer({{2, 3}, {2, 0}}, {}), "empty"},
                      RefusalCase{layer({{2, 3, 3, 1}, {2, 3, 3, 1}}, {}, {{"axis", int64_t{1}}}), "-1 or 3"},
                      RefusalCase{layer({{1, int64_t{1} << 47}, {1, int64_t{1} << 47}, {1, 1}}, {}),
                                  "2^48"}));

TEST(ConcatValues, KeepsTheOrderOfItsInputs) {
  const auto concat = layer({{2, 1}, {2, 2}}, {});
  const auto op = std::move(create_operator(concat)).value();
  LayerRunner<float> run(*op, concat.inputs, 2, 1);
  run.inputs[0].data()[0] = 1;
  run.inputs[0].data()[1] = 2;
  for (int i = 0; i < 4; ++i) run.inputs[1].data()[i] = static_cast<float>(10 * i);
  run.forward(false);
  EXPECT_THAT(std::vector<float>(run.output.data(), run.output.data() + 6), ElementsAre(1, 0, 10, 2, 20, 30));
}

Node node(const char* name, const char* op, std::vector<std::string> inputs, AttrMap attributes = {}) {
  return {name, op, 1, std::move(attributes), std::move(inputs)};
}

/// Branches that part, join by Concat and by Add, and read one value several times: the gradient of every
/// variable against differences of the whole network.
TEST(ConcatPlan, GradientsOfBranchesWithAddAndConcat) {
  const AttrMap conv{{"filters", int64_t{3}}, {"kernel_size", int64_t{3}}, {"padding", std::string("same")}};
  const AttrMap pointwise{{"filters", int64_t{3}}, {"kernel_size", int64_t{1}}};
  std::vector<Node> nodes{
      node("a", "Conv2D", {"input"}, conv),     node("b", "Conv2D", {"a"}, pointwise),
      node("bn", "BatchNorm", {"b"}),           node("c", "Tanh", {"a"}),
      node("sum", "Add", {"bn", "a", "c"}),     node("both", "Concat", {"sum", "a", "sum"}),
      node("d", "Conv2D", {"both"}, pointwise), node("skip", "Add", {"d", "c"}),
      node("pool", "GlobalAvgPool2D", {"skip"})};
  const Registry registry = builtin_ops();
  const Graph graph = std::move(Graph::make(std::move(nodes))).value();
  PlanOptions options;
  options.batch = 4;
  options.mode = Mode::kTraining;
  const Plan plan = std::move(Plan::make(graph, registry, Shape{3, 4, 2}, options)).value();
  VariableStore variables = plan.initial_variables(3);
  Executor executor(plan);
  ASSERT_TRUE(executor.bind(variables).ok());
  Tensor input(Shape{4, 3, 4, 2});
  for (int64_t i = 0; i < input.size(); ++i)
    input.data()[i] = static_cast<float>((i * 37) % 41) / 20.0F - 1.0F;
  Tensor grad(plan.output_shape());
  for (int64_t i = 0; i < grad.size(); ++i) grad.data()[i] = static_cast<float>((i * 7) % 5) - 1.5F;
  StepContext context;
  context.mode = Mode::kTraining;
  const auto loss = [&] {
    const auto output = executor.forward(input.view(), context);
    double sum = 0;
    for (int64_t i = 0; i < output.size(); ++i) sum += static_cast<double>(output.data[i] * grad.data()[i]);
    return sum;
  };
  loss();
  executor.backward(input.view(), grad.view(), context);
  std::vector<Tensor> gradients;
  for (size_t v = 0; v < plan.variables().size(); ++v) {
    const auto view = executor.gradient(v);
    gradients.emplace_back(view.shape);
    std::copy_n(view.data, view.size(), gradients.back().data());
  }
  for (size_t v = 0; v < plan.variables().size(); ++v) {
    if (!plan.variables()[v].trainable) continue;
    Tensor& variable = *variables.find(plan.variables()[v].name);
    for (int64_t i = 0; i < variable.size(); i += 2) {
      constexpr float kStep = 1.0F / 64;
      const float value = variable.data()[i];
      variable.data()[i] = value + kStep;
      const double above = loss();
      variable.data()[i] = value - kStep;
      const double below = loss();
      variable.data()[i] = value;
      EXPECT_NEAR(static_cast<double>(gradients[v].data()[i]), (above - below) / (2.0 * kStep), 5e-3)
          << plan.variables()[v].name << ' ' << i;
    }
  }
}

}  // namespace
}  // namespace nacre
