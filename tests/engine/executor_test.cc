#include "engine/executor.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "tests/engine/toy_ops.h"

namespace nacre {
namespace {

constexpr int64_t kRows = 5;
constexpr int64_t kWidth = 3;

/// A plan with its variables and an executor, and an input of kRows rows of kWidth numbers.
class PlanRun {
 public:
  explicit PlanRun(std::vector<Node> nodes, Mode mode = Mode::kTraining, bool fuse = true, int threads = 1)
      : registry_(toy_registry()), plan_(make(registry_, std::move(nodes), mode, fuse, threads)) {
    context_.mode = mode;
    context_.threads = threads;
    variables = plan_.initial_variables(5);
    for (int64_t i = 0; i < kRows * kWidth; ++i) {
      input.data()[i] = 0.3F * static_cast<float>(i) - 2.0F;
      grad.data()[i] = 0.7F - 0.1F * static_cast<float>(i);
    }
    executor_.emplace(plan_);
    EXPECT_TRUE(executor_->bind(variables).ok());
  }

  /// The output for rows [first, first + n).
  std::vector<float> forward(int64_t first = 0, int64_t n = kRows) {
    const TensorView<const float> output = executor_->forward(rows(input, first, n), context_);
    EXPECT_EQ(output.shape, (Shape{n, kWidth}));
    return {output.data, output.data + output.size()};
  }
  void backward(int64_t first = 0, int64_t n = kRows) {
    executor_->backward(rows(input, first, n), rows(grad, first, n), context_);
  }
  std::vector<float> gradient(const std::string& name) {
    for (size_t i = 0; i < plan_.variables().size(); ++i) {
      if (plan_.variables()[i].name != name) continue;
      const auto view = executor_->gradient(i);
      return view.empty() ? std::vector<float>{} : std::vector<float>(view.data, view.data + view.size());
    }
    ADD_FAILURE() << "no variable " << name;
    return {};
  }
  [[nodiscard]] float factor(int64_t j, const std::string& node = "a") const {
    return variables.find(node + "/factor")->data()[j];
  }
  Executor& executor() { return *executor_; }
  StepContext& context() { return context_; }
  [[nodiscard]] const Plan& plan() const { return plan_; }

  Tensor input{Shape{kRows, kWidth}};
  Tensor grad{Shape{kRows, kWidth}};
  VariableStore variables;

 private:
  static Plan make(const Registry& registry, std::vector<Node> nodes, Mode mode, bool fuse, int threads) {
    PlanOptions options;
    options.batch = kRows;
    options.mode = mode;
    options.fuse = fuse;
    options.threads = threads;
    auto plan = Plan::make(*Graph::make(std::move(nodes)), registry, Shape{kWidth}, options);
    EXPECT_TRUE(plan.ok()) << plan.status().message();
    return std::move(plan).value();
  }
  static TensorView<const float> rows(const Tensor& tensor, int64_t first, int64_t n) {
    return {tensor.data() + first * kWidth, Shape{n, kWidth}};
  }

  Registry registry_;
  Plan plan_;
  StepContext context_;
  std::optional<Executor> executor_;
};

/// Compares the gradients of "a/factor" and "a/shift" with those that follow from `slope`: the derivative of
/// the output with respect to the output of node "a", given that.
template <typename Slope>
void expect_gradients(PlanRun& run, const Slope& slope) {
  // Twice: backward overwrites, whatever the first one left behind.
  for (int time = 0; time < 2; ++time) {
    run.forward();
    run.backward();
    const std::vector<float> factor = run.gradient("a/factor");
    const std::vector<float> shift = run.gradient("a/shift");
    for (int64_t j = 0; j < kWidth; ++j) {
      double expected_factor = 0;
      double expected_shift = 0;
      for (int64_t i = j; i < kRows * kWidth; i += kWidth) {
        const double x = run.input.data()[i];
        const double g = run.grad.data()[i] * slope(x * run.factor(j));
        expected_factor += g * x;
        expected_shift += g;
      }
      EXPECT_NEAR(factor[static_cast<size_t>(j)], expected_factor, 1e-4);
      EXPECT_NEAR(shift[static_cast<size_t>(j)], expected_shift, 1e-4);
    }
  }
}

Node scale(const std::string& name, const std::string& input) {
  return toy_node(name, "Scale", {input});
}
Node square(const std::string& name, const std::string& input) {
  return toy_node(name, "Square", {input});
}
Node sum(const std::string& name, std::vector<std::string> inputs) {
  return toy_node(name, "Sum", std::move(inputs));
}

TEST(Executor, ForwardComputesTheGraph) {
  PlanRun run({scale("a", "input"), square("b", "a"), sum("s", {"a", "b", "input"})}, Mode::kInference);
  const std::vector<float> output = run.forward();
  for (int64_t i = 0; i < kRows * kWidth; ++i) {
    const float x = run.input.data()[i];
    const float a = x * run.factor(i % kWidth);
    EXPECT_NEAR(output[static_cast<size_t>(i)], a + a * a + x, 1e-5);
  }
}

TEST(Executor, GradientsOfAChain) {
  for (const bool fuse : {false, true}) {
    PlanRun run({scale("a", "input"), square("b", "a")}, Mode::kTraining, fuse);
    expect_gradients(run, [](double a) { return 2 * a; });
  }
}

TEST(Executor, GradientsOfAValueThatTwoRead) {
  PlanRun run({scale("a", "input"), square("b", "a"), sum("s", {"a", "b"})});
  expect_gradients(run, [](double a) { return 1 + 2 * a; });
}

TEST(Executor, GradientsOfAValueThatThreeRead) {
  // a^4 + a^2 + a, where a is read by three nodes, far apart from each other.
  PlanRun run({scale("a", "input"), square("b", "a"), square("c", "b"), square("d", "a"),
               sum("t", {"c", "d"}), sum("s", {"a", "t"})});
  expect_gradients(run, [](double a) { return 4 * a * a * a + 2 * a + 1; });
}

TEST(Executor, GradientsOfAValueThatOneNodeReadsTwice) {
  PlanRun twice({scale("a", "input"), sum("s", {"a", "a"})});
  expect_gradients(twice, [](double) { return 2; });
  PlanRun thrice({scale("a", "input"), sum("s", {"a", "a", "a"})});
  expect_gradients(thrice, [](double) { return 3; });
  PlanRun mixed({scale("a", "input"), square("b", "a"), sum("s", {"a", "b", "a"}), square("q", "s")});
  expect_gradients(mixed, [](double a) { return 2 * (2 * a + a * a) * (2 + 2 * a); });
}

TEST(Executor, GradientsOfADoublingChain) {
  // Every value is read twice by one node, and the partial sums have buffers of their own.
  PlanRun run(
      {scale("a", "input"), sum("b", {"a", "a"}), sum("c", {"b", "b", "input"}), sum("d", {"c", "a"})});
  expect_gradients(run, [](double) { return 5; });
}

TEST(Executor, WhatIsNotTrainedHasNoGradient) {
  PlanRun run({toy_node("frozen", "Scale", {"input"}, {{"trainable", false}}), square("b", "frozen"),
               scale("a", "b"), sum("s", {"a", "b"})});
  EXPECT_FALSE(run.plan().units()[1].wants_input_gradient[0]);
  run.forward();
  run.backward();
  EXPECT_TRUE(run.gradient("frozen/factor").empty());
  const std::vector<float> shift = run.gradient("a/shift");
  for (int64_t j = 0; j < kWidth; ++j) {
    double expected = 0;
    for (int64_t i = j; i < kRows * kWidth; i += kWidth) expected += run.grad.data()[i];
    EXPECT_NEAR(shift[static_cast<size_t>(j)], expected, 1e-5);
  }
}

TEST(Executor, GradientsPassThroughWhatIsNotTrained) {
  PlanRun run({scale("a", "input"), toy_node("frozen", "Scale", {"a"}, {{"trainable", false}}),
               square("b", "frozen")});
  run.forward();
  run.backward();
  const std::vector<float> shift = run.gradient("a/shift");
  for (int64_t j = 0; j < kWidth; ++j) {
    double expected = 0;
    const double f = run.factor(j, "frozen");
    for (int64_t i = j; i < kRows * kWidth; i += kWidth) {
      expected += run.grad.data()[i] * 2 * (run.input.data()[i] * run.factor(j) * f) * f;
    }
    EXPECT_NEAR(shift[static_cast<size_t>(j)], expected, 1e-4);
  }
}

TEST(Executor, FusedEqualsUnfused) {
  const std::vector<Node> nodes{scale("a", "input"), square("b", "a"), scale("c", "b"), square("d", "c"),
                                sum("s", {"d", "b"})};
  PlanRun fused(nodes);
  PlanRun plain(nodes, Mode::kTraining, false);
  ASSERT_EQ(fused.plan().units().size(), 3U);
  ASSERT_EQ(plain.plan().units().size(), 5U);
  EXPECT_EQ(fused.forward(), plain.forward());
  fused.backward();
  plain.backward();
  for (const char* name : {"a/factor", "a/shift", "c/factor", "c/shift"}) {
    EXPECT_EQ(fused.gradient(name), plain.gradient(name)) << name;
  }
}

TEST(Executor, InferenceEqualsTraining) {
  const std::vector<Node> nodes{scale("a", "input"), square("b", "a"), sum("s", {"a", "b"}), square("c", "s"),
                                sum("t", {"c", "input", "a"})};
  PlanRun inference(nodes, Mode::kInference);
  PlanRun training(nodes, Mode::kTraining);
  EXPECT_LT(inference.plan().arena_bytes(), training.plan().arena_bytes());
  EXPECT_EQ(inference.forward(), training.forward());
}

TEST(Executor, ViewsChangeNoNumber) {
  const auto view = [](const std::string& name, const std::string& input) {
    return toy_node(name, "View", {input});
  };
  const auto through_views = [&](bool views) {
    const auto of = [&](const std::string& name) { return views ? name + "v" : name; };
    std::vector<Node> nodes{scale("a", "input"), square("b", "a"), scale("c", of("b")),
                            sum("s", {"b", of("b"), "c"})};
    if (views) {
      nodes.push_back(view("bv", "b"));
      nodes.push_back(view("end", "s"));
    }
    return nodes;
  };
  for (const Mode mode : {Mode::kTraining, Mode::kInference}) {
    PlanRun plain(through_views(false), mode);
    PlanRun run(through_views(true), mode);
    EXPECT_EQ(run.forward(), plain.forward());
    if (mode == Mode::kInference) continue;
    plain.backward();
    run.backward();
    for (const char* name : {"a/factor", "a/shift", "c/factor", "c/shift"}) {
      const std::vector<float> expected = plain.gradient(name);
      const std::vector<float> found = run.gradient(name);
      for (size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(found[i], expected[i], 1e-4) << name;
    }
  }
}

TEST(Executor, PartialBatches) {
  for (const Mode mode : {Mode::kInference, Mode::kTraining}) {
    PlanRun run({scale("a", "input"), square("b", "a"), sum("s", {"a", "b"})}, mode);
    const std::vector<float> all = run.forward();
    for (int64_t first = 0; first < kRows; ++first) {
      for (int64_t n = 1; first + n <= kRows; ++n) {
        const auto begin = all.begin() + first * kWidth;
        EXPECT_EQ(run.forward(first, n), std::vector<float>(begin, begin + n * kWidth));
      }
    }
  }
}

TEST(Executor, GradientsOfAPartialBatchAreOfItsRowsOnly) {
  PlanRun run({scale("a", "input"), square("b", "a"), sum("s", {"a", "b"})});
  run.forward();
  run.backward();
  run.forward(3, 2);
  run.backward(3, 2);
  const std::vector<float> shift = run.gradient("a/shift");
  for (int64_t j = 0; j < kWidth; ++j) {
    double expected = 0;
    for (int64_t i = 3 * kWidth + j; i < kRows * kWidth; i += kWidth) {
      expected += run.grad.data()[i] * (1 + 2.0 * run.input.data()[i] * run.factor(j));
    }
    EXPECT_NEAR(shift[static_cast<size_t>(j)], expected, 1e-4);
  }
}

TEST(Executor, ThreadsDoNotChangeBits) {
  const std::vector<Node> nodes{scale("a", "input"), square("b", "a"), sum("s", {"a", "b", "a"})};
  PlanRun one(nodes);
  const std::vector<float> output = one.forward();
  one.backward();
  for (const int threads : {2, 3}) {
    PlanRun many(nodes, Mode::kTraining, true, threads);
    EXPECT_EQ(many.forward(), output);
    many.backward();
    EXPECT_EQ(many.gradient("a/factor"), one.gradient("a/factor"));
  }
}

TEST(Executor, UsesNoMoreThreadsThanThePlanHasMemoryFor) {
  PlanRun run({square("a", "input")}, Mode::kInference);
  const std::vector<float> output = run.forward();
  // With a memory for one thread, a second one's scratch would lie beyond the end.
  run.context().threads = 4;
  EXPECT_EQ(run.forward(), output);
}

TEST(Executor, BindChecksAndSeesUpdates) {
  PlanRun run({scale("a", "input")}, Mode::kInference);
  const std::vector<float> before = run.forward();
  VariableStore other;
  const Status status = run.executor().bind(other);
  EXPECT_EQ(status.code(), StatusCode::kBadData);
  EXPECT_NE(status.message().find("a/factor [3] is missing"), std::string::npos);
  run.variables.find("a/shift")->data()[1] = 10.0F;
  const std::vector<float> after = run.forward();
  EXPECT_EQ(after[0], before[0]);
  EXPECT_NEAR(after[1], before[1] + 10.0F, 1e-5);
}

}  // namespace
}  // namespace nacre
