#include "train/optimizer.h"

#include <cmath>
#include <cstring>

#include "tests/train/train_fixture.h"

namespace nacre {
namespace {

/// One Dense layer whose gradients come from an input and a gradient of its output that change every step.
class OptimizerTest : public testing::Test {
 protected:
  void start(const OptimizerOptions& options, int threads = 1, int64_t units = 5) {
    PlanOptions plan_options;
    plan_options.mode = Mode::kTraining;
    plan_options.batch = kRows;
    plan_options.threads = threads;
    auto plan = Plan::make(graph_of({layer("dense", "Dense", "input",
                                           {{"units", units}, {"bias_initializer", std::string("ones")}})}),
                           layers(), Shape{kInputs}, plan_options);
    ASSERT_TRUE(plan.ok()) << plan.status().message();
    plan_.emplace(std::move(plan).value());
    store_ = plan_->initial_variables(1);
    threads_ = threads;
    optimizer_.emplace(options);
    ASSERT_TRUE(optimizer_->add_slots(*plan_, store_).ok());
    optimizer_->bind(*plan_, store_);
    executor_.emplace(*plan_);
    ASSERT_TRUE(executor_->bind(store_).ok());
  }

  /// Fills the executor's gradients as those of step `step`.
  void gradients(int64_t step) {
    Tensor input(Shape{kRows, kInputs});
    Tensor grad(plan_->output_shape());
    for (int64_t i = 0; i < input.size(); ++i) {
      input.data()[i] = std::sin(static_cast<float>(i * step));
    }
    for (int64_t i = 0; i < grad.size(); ++i) grad.data()[i] = std::cos(static_cast<float>(i + step));
    const std::vector<int64_t> samples(kRows, 0);
    StepContext context;
    context.mode = Mode::kTraining;
    context.threads = threads_;
    context.samples = samples;
    executor_->forward(input.view(), context);
    executor_->backward(input.view(), grad.view(), context);
  }

  /// Takes `steps` steps; after each, `expected(step, g, w)` is applied in double, for a kernel or a bias,
  /// and must give the same variable.
  template <typename Make>
  void compare(const OptimizerOptions& options, int64_t steps, const Make& make_update) {
    start(options);
    const double rate = 0.05;
    for (size_t v = 0; v < plan_->variables().size(); ++v) {
      const PlannedVariable& variable = plan_->variables()[v];
      const float* w = store_.find(variable.name)->data();
      expected_.emplace_back(w, w + variable.shape.num_elements());
    }
    std::vector<decltype(make_update(true))> updates{make_update(true), make_update(false)};
    for (int64_t step = 1; step <= steps; ++step) {
      gradients(step);
      for (size_t v = 0; v < plan_->variables().size(); ++v) {
        for (size_t i = 0; i < expected_[v].size(); ++i) {
          const double g = executor_->gradient(v).data[i];
          const bool kernel = plan_->variables()[v].name == "dense/kernel";
          updates[kernel ? 0 : 1](step, rate, i, g, expected_[v][i]);
        }
      }
      optimizer_->apply(*executor_, step, rate, 1);
      for (size_t v = 0; v < plan_->variables().size(); ++v) {
        const float* w = store_.find(plan_->variables()[v].name)->data();
        for (size_t i = 0; i < expected_[v].size(); ++i) {
          ASSERT_NEAR(w[i], expected_[v][i], 2e-5) << plan_->variables()[v].name << " step " << step;
        }
      }
    }
  }

  static constexpr int64_t kRows = 3;
  static constexpr int64_t kInputs = 4;
  int threads_ = 1;
  std::optional<Plan> plan_;
  VariableStore store_;
  std::optional<Optimizer> optimizer_;
  std::optional<Executor> executor_;
  std::vector<std::vector<double>> expected_;
};

TEST_F(OptimizerTest, Sgd) {
  compare({}, 3,
          [](bool) { return [](int64_t, double rate, size_t, double g, double& w) { w -= rate * g; }; });
  EXPECT_EQ(store_.size(), 2U) << "no slots without momentum";
}

TEST_F(OptimizerTest, ClippingScalesAllGradientsToTheNorm) {
  // One step by hand, in double, with all three optimizers: w -= rate * g * clip / max(norm, clip).
  for (const double clip : {0.01, 0.5, 1e6}) {
    OptimizerOptions options;
    options.clip_norm = clip;
    options.weight_decay = 0.25;
    start(options);
    gradients(1);
    double squares = 0;
    std::vector<std::vector<double>> expected;
    for (size_t v = 0; v < plan_->variables().size(); ++v) {
      for (const float g :
           std::span(executor_->gradient(v).data, static_cast<size_t>(executor_->gradient(v).size()))) {
        squares += double{g} * double{g};
      }
    }
    const double norm = std::sqrt(squares);
    EXPECT_NEAR(global_gradient_norm(*plan_, *executor_, 1), norm, 1e-12 * norm);
    EXPECT_EQ(clip < norm, clip < 1) << norm;
    for (size_t v = 0; v < plan_->variables().size(); ++v) {
      const PlannedVariable& variable = plan_->variables()[v];
      const float* w = store_.find(variable.name)->data();
      expected.emplace_back();
      for (int64_t i = 0; i < variable.shape.num_elements(); ++i) {
        const double g = executor_->gradient(v).data[i] * clip / std::max(norm, clip);
        expected.back().push_back(w[i] - 0.05 * (g + (variable.decay ? 0.25 : 0.0) * w[i]));
      }
    }
    optimizer_->apply(*executor_, 1, 0.05, 1);
    for (size_t v = 0; v < plan_->variables().size(); ++v) {
      const float* w = store_.find(plan_->variables()[v].name)->data();
      for (size_t i = 0; i < expected[v].size(); ++i) EXPECT_NEAR(w[i], expected[v][i], 1e-6);
    }
  }
}

TEST_F(OptimizerTest, TheNormDoesNotDependOnThreads) {
  start({}, 3, 20000);
  gradients(1);
  const double one = global_gradient_norm(*plan_, *executor_, 1);
  EXPECT_GT(one, 0);
  EXPECT_EQ(global_gradient_norm(*plan_, *executor_, 2), one);
  EXPECT_EQ(global_gradient_norm(*plan_, *executor_, 3), one);
}

TEST_F(OptimizerTest, WeightDecayOnKernelsOnly) {
  OptimizerOptions options;
  options.weight_decay = 0.5;
  compare(options, 3, [](bool kernel) {
    const double decay = kernel ? 0.5 : 0.0;
    return [decay](int64_t, double rate, size_t, double g, double& w) { w -= rate * (g + decay * w); };
  });
}

TEST_F(OptimizerTest, Momentum) {
  OptimizerOptions options;
  options.momentum = 0.9;
  options.weight_decay = 0.1;
  compare(options, 5, [](bool kernel) {
    const double decay = kernel ? 0.1 : 0.0;
    return
        [decay, b = std::vector<double>(100)](int64_t, double rate, size_t i, double g, double& w) mutable {
          b[i] = 0.9 * b[i] + (g + decay * w);
          w -= rate * b[i];
        };
  });
  EXPECT_EQ(store_.size(), 4U);
  EXPECT_NE(store_.find("dense/kernel/momentum"), nullptr);
  EXPECT_NE(store_.find("dense/bias/momentum"), nullptr);
}

TEST_F(OptimizerTest, Adam) {
  OptimizerOptions options;
  options.kind = OptimizerKind::kAdam;
  options.weight_decay = 0.01;
  compare(options, 5, [](bool kernel) {
    const double decay = kernel ? 0.01 : 0.0;
    // As the paper's algorithm 1 has it, with the estimates corrected one by one.
    return [decay, m = std::vector<double>(100), v = std::vector<double>(100)](
               int64_t t, double rate, size_t i, double g, double& w) mutable {
      g += decay * w;
      m[i] = 0.9 * m[i] + 0.1 * g;
      v[i] = 0.999 * v[i] + 0.001 * g * g;
      const double m_hat = m[i] / (1 - std::pow(0.9, static_cast<double>(t)));
      const double v_hat = v[i] / (1 - std::pow(0.999, static_cast<double>(t)));
      w -= rate * m_hat / (std::sqrt(v_hat) + 1e-8);
    };
  });
  EXPECT_EQ(store_.size(), 6U);
  for (const char* name :
       {"dense/kernel/adam_m", "dense/kernel/adam_v", "dense/bias/adam_m", "dense/bias/adam_v"}) {
    ASSERT_NE(store_.find(name), nullptr) << name;
  }
  EXPECT_EQ(store_.find("dense/kernel/adam_v")->shape(), (Shape{kInputs, 5}));
}

TEST_F(OptimizerTest, NesterovMomentum) {
  OptimizerOptions options;
  options.momentum = 0.9;
  options.nesterov = true;
  compare(options, 5, [](bool) {
    return [b = std::vector<double>(100)](int64_t, double rate, size_t i, double g, double& w) mutable {
      b[i] = 0.9 * b[i] + g;
      w -= rate * (g + 0.9 * b[i]);
    };
  });
  EXPECT_EQ(store_.size(), 4U);
}

TEST_F(OptimizerTest, AdamWDecaysBesideTheGradient) {
  OptimizerOptions options;
  options.kind = OptimizerKind::kAdamW;
  options.weight_decay = 0.1;
  compare(options, 5, [](bool kernel) {
    const double decay = kernel ? 0.1 : 0.0;
    return [decay, m = std::vector<double>(100), v = std::vector<double>(100)](
               int64_t t, double rate, size_t i, double g, double& w) mutable {
      m[i] = 0.9 * m[i] + 0.1 * g;
      v[i] = 0.999 * v[i] + 0.001 * g * g;
      const double m_hat = m[i] / (1 - std::pow(0.9, static_cast<double>(t)));
      const double v_hat = v[i] / (1 - std::pow(0.999, static_cast<double>(t)));
      w -= rate * decay * w + rate * m_hat / (std::sqrt(v_hat) + 1e-8);
    };
  });
  EXPECT_EQ(store_.size(), 6U);
}

TEST_F(OptimizerTest, SlotsAreKeptAndChecked) {
  OptimizerOptions options;
  options.momentum = 0.9;
  start(options);
  store_.find("dense/bias/momentum")->data()[2] = 4.0F;
  ASSERT_TRUE(optimizer_->add_slots(*plan_, store_).ok());
  EXPECT_EQ(store_.find("dense/bias/momentum")->data()[2], 4.0F);
  EXPECT_EQ(store_.find("dense/bias/momentum")->data()[1], 0.0F);

  VariableStore wrong = plan_->initial_variables(1);
  ASSERT_TRUE(wrong.add("dense/kernel/momentum", Tensor(Shape{2})).ok());
  const Status status = optimizer_->add_slots(*plan_, wrong);
  EXPECT_EQ(status.code(), StatusCode::kBadData);
  EXPECT_EQ(status.message(), "slot dense/kernel/momentum is [2], expected [4, 5]");
}

TEST_F(OptimizerTest, ThreadsDoNotChangeBits) {
  for (const OptimizerKind kind : {OptimizerKind::kSgd, OptimizerKind::kAdam, OptimizerKind::kAdamW}) {
    for (const double momentum : {0.0, 0.9}) {
      OptimizerOptions options;
      options.kind = kind;
      options.momentum = momentum;
      options.weight_decay = 0.01;
      std::string expected;
      for (const int threads : {1, 2, 3}) {
        // 4 x 10,000: several chunks.
        start(options, threads, 10000);
        for (int64_t step = 1; step <= 2; ++step) {
          gradients(step);
          optimizer_->apply(*executor_, step, 0.1, threads);
        }
        if (threads == 1) expected = bits_of(store_);
        EXPECT_EQ(bits_of(store_) == expected, true) << threads << " threads";
      }
    }
  }
}

TEST_F(OptimizerTest, MovingAveragesFollowTheBatch) {
  Node norm;
  norm.name = "bn";
  norm.op = "BatchNorm";
  norm.attributes = {{"momentum", 0.75}};
  norm.inputs = {std::string(kInputName)};
  OptimizerOptions options;
  options.kind = OptimizerKind::kAdamW;
  options.weight_decay = 0.5;
  for (const int threads : {1, 2}) {
    PlanOptions plan_options;
    plan_options.batch = 2;
    plan_options.mode = Mode::kTraining;
    const auto plan = Plan::make(Graph::make({norm}).value(), layers(), Shape{2}, plan_options);
    ASSERT_TRUE(plan.ok()) << plan.status().message();
    VariableStore store = plan->initial_variables(1);
    Optimizer optimizer(options);
    ASSERT_TRUE(optimizer.add_slots(*plan, store).ok());
    EXPECT_EQ(store.find("bn/moving_mean/adam_m"), nullptr);
    optimizer.bind(*plan, store);
    Executor executor(*plan);
    ASSERT_TRUE(executor.bind(store).ok());
    const std::vector<float> input{1, 10, 3, 14};
    const TensorView<const float> view{input.data(), Shape{2, 2}};
    StepContext context;
    context.mode = Mode::kTraining;
    executor.forward(view, context);
    executor.backward(view, view, context);
    optimizer.apply(executor, 1, 0.1, threads);
    // Means 2 and 12, variances 1 and 4; the averages started at 0 and 1.
    EXPECT_FLOAT_EQ(store.find("bn/moving_mean")->data()[0], 0.5F);
    EXPECT_FLOAT_EQ(store.find("bn/moving_mean")->data()[1], 3.0F);
    EXPECT_FLOAT_EQ(store.find("bn/moving_variance")->data()[0], 1.0F);
    EXPECT_FLOAT_EQ(store.find("bn/moving_variance")->data()[1], 1.75F);
  }
}

OptimizerOptions schedule(LearningRateSchedule kind, int64_t warmup) {
  OptimizerOptions options;
  options.learning_rate = 2.0;
  options.schedule = kind;
  options.warmup_steps = warmup;
  return options;
}

TEST(LearningRate, Constant) {
  for (const int64_t step : {1, 50, 100}) {
    EXPECT_EQ(learning_rate_at(schedule(LearningRateSchedule::kConstant, 0), step, 100), 2.0);
  }
}

TEST(LearningRate, Step) {
  const auto options = schedule(LearningRateSchedule::kStep, 0);
  for (const auto& [step, rate] :
       {std::pair{1, 2.0}, {50, 2.0}, {51, 0.2}, {75, 0.2}, {76, 0.02}, {100, 0.02}}) {
    EXPECT_DOUBLE_EQ(learning_rate_at(options, step, 100), rate) << step;
  }
}

TEST(LearningRate, Cosine) {
  const auto options = schedule(LearningRateSchedule::kCosine, 0);
  EXPECT_DOUBLE_EQ(learning_rate_at(options, 1, 100), 2.0);
  EXPECT_NEAR(learning_rate_at(options, 51, 100), 1.0, 1e-12);
  EXPECT_NEAR(learning_rate_at(options, 26, 100), 1.0 + std::sqrt(0.5), 1e-12);
  EXPECT_GT(learning_rate_at(options, 100, 100), 0.0);
  EXPECT_LT(learning_rate_at(options, 100, 100), 0.001);
  for (int64_t step = 1; step < 100; ++step) {
    EXPECT_GT(learning_rate_at(options, step, 100), learning_rate_at(options, step + 1, 100));
  }
}

TEST(LearningRate, WarmUpRisesLinearlyAndTheScheduleFollows) {
  for (const auto kind :
       {LearningRateSchedule::kConstant, LearningRateSchedule::kStep, LearningRateSchedule::kCosine}) {
    const auto options = schedule(kind, 20);
    EXPECT_DOUBLE_EQ(learning_rate_at(options, 1, 120), 0.1);
    EXPECT_DOUBLE_EQ(learning_rate_at(options, 10, 120), 1.0);
    EXPECT_DOUBLE_EQ(learning_rate_at(options, 20, 120), 2.0);
    for (int64_t step = 1; step <= 100; ++step) {
      EXPECT_DOUBLE_EQ(learning_rate_at(options, step + 20, 120),
                       learning_rate_at(schedule(kind, 0), step, 100));
    }
    // A run that ends within the warm-up.
    EXPECT_DOUBLE_EQ(learning_rate_at(options, 5, 5), 0.5);
  }
}

}  // namespace
}  // namespace nacre
