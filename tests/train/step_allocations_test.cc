// A training step and a prediction take no memory beyond what planning gave them.
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <cstdlib>
#include <new>

#include "engine/executor.h"
#include "tests/train/train_fixture.h"
#include "train/loss.h"
#include "train/optimizer.h"

namespace {

std::atomic<int64_t> allocations{0};

void* allocate(size_t size, size_t alignment) {
  ++allocations;
  const size_t rounded = (size + alignment - 1) / alignment * alignment;
  void* memory = std::aligned_alloc(alignment, rounded == 0 ? alignment : rounded);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

// Not inlined, or GCC 12 sees memory of an operator new that it does not know for ours go to free.
[[gnu::noinline]] void* operator new(size_t size) {
  return allocate(size, alignof(std::max_align_t));
}
[[gnu::noinline]] void* operator new(size_t size, std::align_val_t alignment) {
  return allocate(size, static_cast<size_t>(alignment));
}
[[gnu::noinline]] void operator delete(void* memory) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, size_t /*size*/) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::align_val_t /*alignment*/) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, size_t /*size*/,
                                       std::align_val_t /*alignment*/) noexcept {
  std::free(memory);
}

namespace nacre {
namespace {

constexpr int64_t kBatch = 6;

Graph network() {
  const auto relu = std::string("relu");
  const auto same = std::string("same");
  Node sum = layer("sum", "Add", "norm");
  sum.inputs.emplace_back("conv2");
  return graph_of({
      layer("conv1", "Conv2D", "input",
            {{"filters", int64_t{8}}, {"kernel_size", int64_t{3}}, {"activation", relu}, {"padding", same}}),
      layer("pool1", "MaxPool2D", "conv1", {{"pool_size", int64_t{2}}}),
      layer("conv2", "Conv2D", "pool1",
            {{"filters", int64_t{16}}, {"kernel_size", int64_t{3}}, {"padding", same}}),
      layer("norm", "BatchNorm", "conv2"),
      sum,
      layer("depthwise", "DepthwiseConv2D", "sum", {{"kernel_size", int64_t{3}}, {"strides", int64_t{2}}}),
      layer("flat", "Flatten", "depthwise"),
      layer("hidden", "Dense", "flat", {{"units", int64_t{24}}, {"activation", relu}}),
      layer("drop", "Dropout", "hidden", {{"rate", 0.5}}),
      layer("logits", "Dense", "drop", {{"units", int64_t{3}}}),
  });
}

TEST(StepAllocations, TrainingTakesNone) {
  PlanOptions planning;
  planning.batch = kBatch;
  planning.mode = Mode::kTraining;
  planning.threads = 2;
  planning.stream_gradients = true;
  const Plan plan = Plan::make(network(), layers(), Shape{20, 20, 3}, planning).value();
  VariableStore store = plan.initial_variables(1);
  OptimizerOptions options;
  options.kind = OptimizerKind::kAdam;
  Optimizer optimizer(options);
  ASSERT_TRUE(optimizer.add_slots(plan, store).ok());
  optimizer.bind(plan, store);
  Executor executor(plan);
  ASSERT_TRUE(executor.bind(store).ok());
  Tensor input(plan.input_shape());
  for (int64_t i = 0; i < input.size(); ++i) input.data()[i] = std::sin(static_cast<float>(i));
  Tensor grad(plan.output_shape());
  const std::vector<int32_t> labels(kBatch, 1);
  const std::vector<int64_t> samples(kBatch, 0);
  const StepContext context{Mode::kTraining, 2, 1, 0, samples};
  const LossOptions loss;
  const auto step = [&](int64_t number) {
    const TensorView<const float> logits = executor.forward(input.view(), context);
    static_cast<void>(softmax_cross_entropy(logits, labels, grad.view(), loss));
    optimizer.begin_step(number, 0.01);
    executor.backward(input.view(), grad.view(), context, &optimizer);
    optimizer.apply(executor, number, 0.01, 2);
  };
  step(1);
  const int64_t before = allocations;
  step(2);
  step(3);
  EXPECT_EQ(allocations, before);
  EXPECT_GT(before, 0) << "the count must work";
}

TEST(StepAllocations, PredictionTakesNone) {
  PlanOptions planning;
  planning.batch = kBatch;
  planning.threads = 2;
  const Plan plan = Plan::make(network(), layers(), Shape{20, 20, 3}, planning).value();
  const VariableStore store = plan.initial_variables(1);
  const PackedVariables packed(plan, store, 2);
  Executor executor(plan);
  ASSERT_TRUE(executor.bind(store, &packed).ok());
  const Tensor input(plan.input_shape());
  const StepContext context{Mode::kInference, 2, 1, 0, {}};
  executor.forward(input.view(), context);
  const int64_t before = allocations;
  executor.forward(input.view(), context);
  EXPECT_EQ(allocations, before);
}

}  // namespace
}  // namespace nacre
