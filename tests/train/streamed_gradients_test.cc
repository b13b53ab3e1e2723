// Gradients that go to the optimizer as soon as they are final.
#include <gtest/gtest.h>

#include <cmath>

#include "engine/executor.h"
#include "tests/train/train_fixture.h"
#include "train/optimizer.h"

namespace nacre {
namespace {

/// Dense layers as wide as a product's tiles, and a batch as high.
Graph wide_network() {
  const AttrMap wide{{"units", int64_t{64}}, {"activation", std::string("relu")}};
  return graph_of({layer("flat", "Flatten", "input"), layer("first", "Dense", "flat", wide),
                   layer("second", "Dense", "first", wide),
                   layer("logits", "Dense", "second", {{"units", int64_t{64}}})});
}

/// The variables and slots after three steps of a network of Dense layers.
std::vector<float> trained(const Graph& network, int64_t batch, const OptimizerOptions& options, bool stream,
                           int threads) {
  PlanOptions planning;
  planning.batch = batch;
  planning.mode = Mode::kTraining;
  planning.threads = threads;
  planning.stream_gradients = stream;
  const Plan plan = Plan::make(network, layers(), Shape{7, 9, 2}, planning).value();
  VariableStore store = plan.initial_variables(1);
  Optimizer optimizer(options);
  EXPECT_TRUE(optimizer.add_slots(plan, store).ok());
  optimizer.bind(plan, store);
  Executor executor(plan);
  EXPECT_TRUE(executor.bind(store).ok());
  Tensor input(plan.input_shape());
  Tensor grad(plan.output_shape());
  for (int64_t i = 0; i < input.size(); ++i) input.data()[i] = std::sin(static_cast<float>(i));
  const std::vector<int64_t> samples(static_cast<size_t>(batch), 0);
  const StepContext context{Mode::kTraining, threads, 1, 0, samples};
  for (int64_t step = 1; step <= 3; ++step) {
    for (int64_t i = 0; i < grad.size(); ++i) grad.data()[i] = std::cos(static_cast<float>(i + step));
    executor.forward(input.view(), context);
    optimizer.begin_step(step, 0.1);
    executor.backward(input.view(), grad.view(), context, stream ? &optimizer : nullptr);
    optimizer.apply(executor, step, 0.1, threads);
  }
  std::vector<float> all;
  for (const auto& [name, tensor] : store.tensors()) {
    all.insert(all.end(), tensor.data(), tensor.data() + tensor.size());
  }
  for (size_t i = 0; i < plan.variables().size(); ++i) {
    EXPECT_EQ(executor.gradient(i).empty(), stream && plan.variables()[i].name.ends_with("/kernel"));
  }
  return all;
}

TEST(StreamedGradients, ChangeNoBit) {
  OptimizerOptions options;
  for (const OptimizerKind kind : {OptimizerKind::kSgd, OptimizerKind::kAdam, OptimizerKind::kAdamW}) {
    options.kind = kind;
    options.momentum = 0.9;
    options.weight_decay = 0.01;
    for (const auto& [network, batch] : {std::pair{small_network(3, false), 5}, {wide_network(), 30}}) {
      const std::vector<float> stored = trained(network, batch, options, false, 1);
      for (const int threads : {1, 2, 3}) {
        EXPECT_EQ(trained(network, batch, options, true, threads), stored) << threads;
      }
    }
  }
}

TEST(StreamedGradients, AreNotForABoundOnTheNorm) {
  OptimizerOptions options;
  EXPECT_TRUE(Optimizer(options).can_stream());
  options.clip_norm = 1.0;
  EXPECT_FALSE(Optimizer(options).can_stream());
}

}  // namespace
}  // namespace nacre
