#include "engine/image_loop.h"

#include <optional>

#include "engine/executor.h"
#include "tests/engine/toy_ops.h"

namespace nacre {
namespace {

constexpr int64_t kBatch = 24;

/// Computes nothing; has such an output for one image, in floats, and variables, packed or in place.
class Sized final : public ReferenceOperator<Sized> {
 public:
  Sized(int64_t floats, size_t packed_bytes, bool forwards_rows = false, int64_t variables = 0) {
    info_.forwards_rows = forwards_rows;
    if (variables > 0) info_.variables.emplace_back().shape = Shape{variables};
    info_.output = Shape{kBatch, floats};
    info_.packed_bytes = packed_bytes;
  }
  template <typename T>
  void reference_forward(const ForwardArgs<T>& /*args*/) const {}
  template <typename T>
  void reference_backward(const BackwardArgs<T>& /*args*/) const {}
};

Unit unit(std::vector<int> inputs, int64_t floats, size_t packed_bytes = 0) {
  Unit made;
  made.inputs = std::move(inputs);
  made.operation = std::make_unique<Sized>(floats, packed_bytes);
  return made;
}

template <typename... Units>
ImageLoop choose(int64_t batch, int threads, Units... units) {
  std::vector<Unit> all;
  (all.push_back(std::move(units)), ...);
  return choose_image_loop(all, batch, threads, Mode::kInference);
}

constexpr int64_t kMany = 64 * 1024;  // floats; two such values of two images fill the cache

TEST(ImageLoop, TakesAllUnitsOfAChain) {
  const ImageLoop loop = choose(kBatch, 2, unit({0}, kMany), unit({1}, kMany), unit({2}, 1024));
  EXPECT_EQ(loop.units, 3U);
  EXPECT_EQ(loop.rows, 2);
}

TEST(ImageLoop, LargeImagesGoOneByOne) {
  EXPECT_EQ(choose(kBatch, 2, unit({0}, 100 * kMany), unit({1}, kMany)).rows, 1);
}

TEST(ImageLoop, EndsBeforeALargeKernel) {
  const ImageLoop loop = choose(kBatch, 2, unit({0}, kMany), unit({1}, kMany),
                                unit({2}, 64, size_t{64} << 20), unit({3}, kMany));
  EXPECT_EQ(loop.units, 2U);
}

TEST(ImageLoop, EndsBeforeALargeKernelThatIsReadInPlace) {
  Unit dense;
  dense.inputs = {2};
  dense.operation = std::make_unique<Sized>(64, 0, false, int64_t{16} << 20);
  const ImageLoop loop =
      choose(kBatch, 2, unit({0}, kMany), unit({1}, kMany), std::move(dense), unit({3}, kMany));
  EXPECT_EQ(loop.units, 2U);
}

TEST(ImageLoop, EndsWhereOneValueIsAllThatIsReadLater) {
  // Values 1 and 2 are both read by the fourth unit, whose kernel is large.
  const ImageLoop none = choose(kBatch, 2, unit({0}, kMany), unit({1}, kMany), unit({2}, kMany),
                                unit({3, 1}, 64, size_t{64} << 20));
  EXPECT_EQ(none.units, 0U);
  const ImageLoop first = choose(kBatch, 2, unit({0}, kMany), unit({1}, kMany), unit({2}, kMany),
                                 unit({3, 2}, kMany), unit({4, 3}, 64, size_t{64} << 20));
  EXPECT_EQ(first.units, 2U);
  // The graph's input counts as well.
  const ImageLoop input =
      choose(kBatch, 2, unit({0}, kMany), unit({1}, kMany), unit({2, 0}, 64, size_t{64} << 20));
  EXPECT_EQ(input.units, 0U);
}

TEST(ImageLoop, InTrainingTakesThoseThatForwardRows) {
  std::vector<Unit> units;
  for (int i = 0; i < 3; ++i) {
    units.emplace_back();
    units.back().inputs = {i};
    units.back().operation = std::make_unique<Sized>(kMany, 0, i < 2);
  }
  EXPECT_EQ(choose_image_loop(units, kBatch, 2, Mode::kTraining).units, 2U);
  EXPECT_EQ(choose_image_loop(units, kBatch, 2, Mode::kInference).units, 3U);
}

TEST(ImageLoop, NoneForOneUnitOrOneRound) {
  EXPECT_EQ(choose(kBatch, 2, unit({0}, kMany)).units, 0U);
  EXPECT_EQ(choose(1, 1, unit({0}, kMany), unit({1}, kMany)).units, 0U);
  EXPECT_EQ(choose(4, 2, unit({0}, kMany), unit({1}, kMany)).units, 0U);
  EXPECT_EQ(choose(5, 2, unit({0}, kMany), unit({1}, kMany)).units, 2U);
}

class LoopedExecutor : public ::testing::Test {
 protected:
  static constexpr int64_t kWidth = 20'000;

  /// Outputs of the first n rows.
  std::vector<float> forward(std::vector<Node> nodes, int64_t n, int threads, bool loop) {
    PlanOptions options;
    options.batch = kBatch;
    options.threads = threads;
    options.loop_over_images = loop;
    Result<Plan> plan = Plan::make(*Graph::make(std::move(nodes)), registry_, Shape{kWidth}, options);
    EXPECT_TRUE(plan.ok());
    EXPECT_EQ(plan->image_loop().units > 0, loop);
    EXPECT_EQ(plan->output_shape(), (Shape{kBatch, kWidth}));
    arena_bytes_ = plan->arena_bytes();
    const VariableStore variables = plan->initial_variables(7);
    Executor executor(*plan);
    EXPECT_TRUE(executor.bind(variables).ok());
    Tensor input(Shape{n, kWidth});
    for (int64_t i = 0; i < input.size(); ++i) input.data()[i] = static_cast<float>(i % 1009) / 512.0F - 1.0F;
    StepContext context;
    context.threads = threads;
    // Twice: the second finds what the first left.
    static_cast<void>(executor.forward(input.view(), context));
    const TensorView<const float> output = executor.forward(input.view(), context);
    EXPECT_EQ(output.shape, (Shape{n, kWidth}));
    return {output.data, output.data + output.size()};
  }

  Registry registry_ = toy_registry();
  size_t arena_bytes_ = 0;
};

TEST_F(LoopedExecutor, HasTheSameBits) {
  // Workspaces of threads and shared ones, values that are read twice, and an end of the graph in the loop.
  const std::vector<Node> nodes{toy_node("a", "Scale", {"input"}), toy_node("b", "Square", {"a"}),
                                toy_node("c", "Square", {"b"}),    toy_node("d", "Sum", {"b", "c"}),
                                toy_node("e", "Scale", {"d"}),     toy_node("f", "Sum", {"e", "d", "input"})};
  for (const int threads : {1, 2, 3}) {
    for (const int64_t n : {int64_t{1}, int64_t{2}, int64_t{5}, int64_t{7}, kBatch}) {
      EXPECT_EQ(forward(nodes, n, threads, true), forward(nodes, n, threads, false)) << n << ", " << threads;
    }
  }
}

TEST_F(LoopedExecutor, ItsValuesTakeTheMemoryOfFewImages) {
  const std::vector<Node> nodes{toy_node("a", "Scale", {"input"}), toy_node("b", "Scale", {"a"}),
                                toy_node("c", "Scale", {"b"})};
  constexpr size_t kValue = kBatch * kWidth * sizeof(float);
  forward(nodes, kBatch, 2, false);
  EXPECT_EQ(arena_bytes_, 2 * kValue);
  forward(nodes, kBatch, 2, true);
  EXPECT_EQ(arena_bytes_, kValue);
}

}  // namespace
}  // namespace nacre
