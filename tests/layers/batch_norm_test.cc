#include <gmock/gmock.h>

#include <cmath>

#include "engine/executor.h"
#include "layer_runner.h"
#include "layer_test.h"
#include "layers/registry.h"

namespace nacre {
namespace {

using ::testing::ElementsAre;
using ::testing::FloatNear;
using ::testing::Pointwise;

LayerCase layer(const Shape& shape, const AttrMap& attributes = {}) {
  return {"BatchNorm", {attributes}, {shape}, shape};
}

std::vector<LayerCase> cases() {
  return {
      layer({3, 1}),
      layer({5, 13}),
      layer({2, 5, 7, 3}),
      layer({3, 1, 1, 17}, {{"epsilon", 0.5}, {"momentum", 0.0}}),
      layer({2, 3, 2, 5}, {{"center", false}}),
      layer({2, 3, 2, 5}, {{"scale", false}}),
      layer({2, 3, 2, 5}, {{"scale", false}, {"center", false}}),
      layer({4, 3, 2}),
      // Several chunks of positions, the last one short.
      layer({3, 71, 33, 6}),
      layer({70, 700}),
  };
}
INSTANTIATE_TEST_SUITE_P(BatchNorm, LayerTest, ::testing::ValuesIn(cases()));

/// The same with an activation behind it.
std::vector<LayerCase> clipped_cases(const std::string& op) {
  std::vector<LayerCase> clipped = cases();
  for (LayerCase& each : clipped) {
    each.op = op;
    each.attributes.emplace_back();
  }
  return clipped;
}
INSTANTIATE_TEST_SUITE_P(BatchNormReLU, LayerTest, ::testing::ValuesIn(clipped_cases("BatchNorm+ReLU")));
INSTANTIATE_TEST_SUITE_P(BatchNormReLU6, LayerTest, ::testing::ValuesIn(clipped_cases("BatchNorm+ReLU6")));

INSTANTIATE_TEST_SUITE_P(BatchNorm, RefusalTest,
                         ::testing::Values(RefusalCase{layer({2, 0}), "empty"},
                                           RefusalCase{layer({2}), "[N, ..., channels]"},
                                           RefusalCase{layer({2, 3}, {{"momentum", 1.5}}), "momentum"},
                                           RefusalCase{layer({2, 3}, {{"epsilon", 0.0}}), "epsilon"},
                                           RefusalCase{layer({2, 3}, {{"axis", int64_t{1}}}), "axis"}));

TEST(BatchNormValues, InferenceUsesTheMovingAverages) {
  // Variables: gamma, beta, moving_mean, moving_variance; with epsilon 1e-3 the roots are 2 and 0.5.
  EXPECT_THAT(forward_values(layer({2, 2}), {7, 1, 3, -1}, {{4, 1}, {0.5F, -1}, {3, 1}, {3.999F, 0.249F}}),
              Pointwise(FloatNear(1e-5F), std::vector<float>{8.5F, -1.0F, 0.5F, -5.0F}));
}

/// The batch's statistics of each channel, from the formulas' words.
TEST(BatchNormValues, TrainingNormalisesByTheBatchAndReportsItsStatistics) {
  const LayerCase bn = layer({3, 5, 4, 2}, {{"scale", false}, {"center", false}});
  const auto op = std::move(create_operator(bn)).value();
  LayerRunner<float> run(*op, bn.inputs, 3, 2);
  run.fill();
  // Far from zero with little spread: what a sum of squares would lose.
  for (int64_t i = 0; i < run.inputs[0].size(); i += 2) run.inputs[0].data()[i] += 4096.0F;
  run.forward(false);
  run.backward(false);
  for (int64_t c = 0; c < 2; ++c) {
    double mean = 0;
    double variance = 0;
    for (int64_t i = c; i < 120; i += 2) mean += static_cast<double>(run.inputs[0].data()[i]) / 60.0;
    for (int64_t i = c; i < 120; i += 2) {
      variance += std::pow(static_cast<double>(run.inputs[0].data()[i]) - mean, 2.0) / 60.0;
    }
    EXPECT_NEAR(static_cast<double>(run.grad_variables[0].data()[c]), mean, 1e-6 * std::abs(mean) + 1e-7);
    EXPECT_NEAR(static_cast<double>(run.grad_variables[1].data()[c]), variance, 1e-6 * variance);
    double output_mean = 0;
    double output_square = 0;
    for (int64_t i = c; i < 120; i += 2) {
      output_mean += static_cast<double>(run.output.data()[i]) / 60.0;
      output_square += std::pow(static_cast<double>(run.output.data()[i]), 2.0) / 60.0;
    }
    EXPECT_NEAR(output_mean, 0.0, 2e-3);
    EXPECT_NEAR(output_square, variance / (variance + 1e-3), 2e-3);
  }
}

/// A fused op refuses what BatchNorm does.
RefusalCase clipped_refusal(const std::string& op) {
  return {{op, {{{"epsilon", 0.0}}, {}}, {Shape{2, 3}}, {}}, "epsilon"};
}
INSTANTIATE_TEST_SUITE_P(BatchNormReLU, RefusalTest, ::testing::Values(clipped_refusal("BatchNorm+ReLU")));
INSTANTIATE_TEST_SUITE_P(BatchNormReLU6, RefusalTest, ::testing::Values(clipped_refusal("BatchNorm+ReLU6")));

/// What the activation clips is what it clips when it stands alone: bit for bit the same outputs, and the
/// same gradients as BatchNorm has from the masked ones.
TEST(BatchNormValues, AnActivationSharesTheSweeps) {
  for (const std::string activation : {"ReLU", "ReLU6"}) {
    const Shape shape{3, 7, 5, 19};
    const auto plain = std::move(create_operator(layer(shape))).value();
    const auto fused =
        std::move(create_operator({"BatchNorm+" + activation, {{}, {}}, {shape}, shape})).value();
    const auto alone = std::move(create_operator({activation, {{}}, {shape}, shape})).value();
    LayerRunner<float> one(*plain, {shape}, 3, 1);
    LayerRunner<float> two(*alone, {shape}, 3, 1);
    LayerRunner<float> both(*fused, {shape}, 3, 1);
    one.fill();
    both.fill();
    for (auto* run : {&one, &both}) {
      // Some results beyond 6.
      for (int64_t c = 0; c < 19; ++c) run->variables[0].data()[c] *= 7.0F;
      run->forward(false);
    }
    const auto copy = [](const Tensor& from, Tensor& to) {
      std::copy_n(from.data(), from.size(), to.data());
    };
    copy(one.output, two.inputs[0]);
    two.forward(false);
    copy(both.grad_output, two.grad_output);
    two.backward(false);
    copy(two.grad_inputs[0], one.grad_output);
    one.backward(false);
    both.backward(false);
    const auto values = [](const Tensor& t) { return std::vector<float>(t.data(), t.data() + t.size()); };
    EXPECT_EQ(values(both.output), values(two.output)) << activation;
    EXPECT_EQ(values(both.grad_inputs[0]), values(one.grad_inputs[0])) << activation;
    for (size_t i = 0; i < 4; ++i) EXPECT_EQ(values(both.grad_variables[i]), values(one.grad_variables[i]));
  }
}

TEST(BatchNormValues, VariablesStartAndMoveAsKerasSays) {
  const auto op = std::move(create_operator(layer({2, 3}, {{"momentum", 0.75}}))).value();
  const auto& variables = op->info().variables;
  ASSERT_EQ(variables.size(), 4U);
  const std::vector<std::string> names{"gamma", "beta", "moving_mean", "moving_variance"};
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(variables[i].name, names[i]);
    EXPECT_EQ(variables[i].shape, (Shape{3}));
    EXPECT_FALSE(variables[i].decay);
    EXPECT_EQ(variables[i].trainable, i < 2);
    EXPECT_EQ(variables[i].moving_average, i < 2 ? std::nullopt : std::optional(0.75));
    EXPECT_EQ(variables[i].initializer.kind,
              i == 0 || i == 3 ? InitializerKind::kOnes : InitializerKind::kZeros);
  }
}

/// A layer that has nothing to train still reports its statistics, first or last in the network.
TEST(BatchNormPlan, StatisticsArriveWithoutAnythingToTrain) {
  Node node;
  node.name = "bn";
  node.op = "BatchNorm";
  node.attributes = {{"scale", false}, {"center", false}};
  node.inputs = {std::string(kInputName)};
  Node flat;
  flat.name = "flat";
  flat.op = "Flatten";
  flat.inputs = {"bn"};
  const Registry registry = builtin_ops();
  const Graph graph = std::move(Graph::make({node, flat})).value();
  PlanOptions options;
  options.batch = 2;
  options.mode = Mode::kTraining;
  const Plan plan = std::move(Plan::make(graph, registry, Shape{1, 2, 2}, options)).value();
  const VariableStore variables = plan.initial_variables(1);
  Executor executor(plan);
  ASSERT_TRUE(executor.bind(variables).ok());
  const std::vector<float> input{1, 10, 3, 10, 5, 10, 7, 14};
  const TensorView<const float> view{input.data(), Shape{2, 1, 2, 2}};
  const std::vector<float> grad(8, 1.0F);
  StepContext context;
  context.mode = Mode::kTraining;
  executor.forward(view, context);
  executor.backward(view, {grad.data(), Shape{2, 4}}, context);
  ASSERT_EQ(plan.variables().size(), 2U);
  const auto values = [&](size_t i) {
    const auto gradient = executor.gradient(i);
    return std::vector<float>(gradient.data, gradient.data + gradient.size());
  };
  EXPECT_THAT(values(0), ElementsAre(4, 11));
  EXPECT_THAT(values(1), ElementsAre(5, 3));
}

}  // namespace
}  // namespace nacre
