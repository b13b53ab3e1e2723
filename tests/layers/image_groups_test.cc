// Forward a few images at a time, and backward one at a time, through neighbouring operators
// (engine/image_loop.h, engine/image_backward.h).
#include <gtest/gtest.h>

#include <cmath>

#include "engine/executor.h"
#include "layers/registry.h"

namespace nacre {
namespace {

Node layer(std::string name, std::string op, std::string input, AttrMap attributes) {
  Node node;
  node.name = std::move(name);
  node.op = std::move(op);
  node.inputs = {std::move(input)};
  node.attributes = std::move(attributes);
  return node;
}

/// Three convolutions with a pooling behind each, and what ends a classifier.
Graph pooled_network(int64_t first_kernel) {
  std::vector<Node> nodes;
  std::string before = "input";
  const auto add = [&](int64_t filters, int64_t kernel, const std::string& number) {
    nodes.push_back(layer("conv" + number, "Conv2D", before,
                          {{"filters", filters},
                           {"kernel_size", kernel},
                           {"padding", std::string("same")},
                           {"activation", std::string("relu")}}));
    nodes.push_back(layer("pool" + number, "MaxPool2D", "conv" + number, {{"pool_size", int64_t{2}}}));
    before = "pool" + number;
  };
  add(16, first_kernel, "1");
  add(20, 3, "2");
  add(37, 3, "3");
  nodes.push_back(layer("flatten", "Flatten", before, {}));
  nodes.push_back(layer("out", "Dense", "flatten", {{"units", int64_t{5}}}));
  return Graph::make(std::move(nodes)).value();
}

struct Step {
  std::vector<std::vector<float>> all;  ///< the output, and the gradients of every variable
  size_t looped;
  size_t groups;
  size_t arena_bytes;
};

Step step_of(const Graph& network, int64_t batch, int64_t n, int threads, bool by_images) {
  const Registry registry = builtin_ops();
  PlanOptions options;
  options.batch = batch;
  options.mode = Mode::kTraining;
  options.threads = threads;
  options.loop_over_images = by_images;
  const Plan plan = Plan::make(network, registry, Shape{58, 62, 3}, options).value();
  const VariableStore variables = plan.initial_variables(3);
  Executor executor(plan);
  EXPECT_TRUE(executor.bind(variables).ok());
  Tensor input(plan.input_shape().with_batch(n));
  Tensor grad(plan.output_shape().with_batch(n));
  for (int64_t i = 0; i < input.size(); ++i) input.data()[i] = std::sin(static_cast<float>(i * i % 977));
  for (int64_t i = 0; i < grad.size(); ++i) grad.data()[i] = std::cos(static_cast<float>(i));
  const std::vector<int64_t> samples(static_cast<size_t>(n), 0);
  const StepContext context{Mode::kTraining, threads, 1, 0, samples};
  Step result{{}, plan.image_loop().units, plan.image_groups().size(), plan.arena_bytes()};
  // Twice: the second finds what the first left.
  for (int i = 0; i < 2; ++i) {
    const TensorView<const float> output = executor.forward(input.view(), context);
    result.all.assign(1, {output.data, output.data + output.size()});
    executor.backward(input.view(), grad.view(), context);
  }
  for (size_t i = 0; i < plan.variables().size(); ++i) {
    const TensorView<const float> gradient = executor.gradient(i);
    result.all.emplace_back(gradient.data, gradient.data + gradient.size());
  }
  return result;
}

TEST(ImageGroups, ChangeNoBit) {
  constexpr int64_t kBatch = 45;
  for (const int64_t first_kernel : {3, 5}) {
    const Graph network = pooled_network(first_kernel);
    for (const int64_t n : {int64_t{1}, int64_t{2}, int64_t{17}, kBatch}) {
      const Step whole = step_of(network, kBatch, n, 1, false);
      EXPECT_EQ(whole.looped, 0U);
      EXPECT_EQ(whole.groups, 0U);
      for (const int threads : {1, 2, 3}) {
        const Step images = step_of(network, kBatch, n, threads, true);
        EXPECT_EQ(images.looped, 3U);
        EXPECT_EQ(images.groups, 1U);
        EXPECT_EQ(images.all, whole.all) << n << " images, " << threads << " threads";
        EXPECT_LT(images.arena_bytes, whole.arena_bytes);
      }
    }
  }
}

}  // namespace
}  // namespace nacre
