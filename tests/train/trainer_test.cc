#include "train/trainer.h"

#include <cmath>
#include <limits>

#include "tests/train/train_fixture.h"

namespace nacre {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

/// Keeps all that training tells.
class Recorder : public TrainObserver {
 public:
  Status on_step(const StepReport& report) override {
    steps.push_back(report);
    return report.step == fail_at_step ? Status(StatusCode::kIo, "disk full") : Status();
  }
  Status on_checkpoint(const Checkpoint& checkpoint, bool best) override {
    Checkpoint copy = checkpoint_copy(checkpoint);
    checkpoint_steps.push_back(static_cast<int64_t>(copy.state.step));
    if (best) best_steps.push_back(static_cast<int64_t>(copy.state.step));
    checkpoints.push_back(std::move(copy));
    return checkpoint_steps.back() == fail_at_checkpoint ? Status(StatusCode::kIo, "disk full") : Status();
  }
  static Checkpoint checkpoint_copy(const Checkpoint& checkpoint) {
    Checkpoint copy;
    copy.variables = checkpoint.variables.clone();
    copy.state = checkpoint.state;
    return copy;
  }

  std::vector<StepReport> steps;
  std::vector<Checkpoint> checkpoints;
  std::vector<int64_t> checkpoint_steps;
  std::vector<int64_t> best_steps;
  int64_t fail_at_step = -1;
  int64_t fail_at_checkpoint = -1;
};

TrainOptions options_of(OptimizerKind kind, double rate, int64_t epochs) {
  TrainOptions options;
  options.batch_size = 5;
  options.epochs = epochs;
  options.optimizer.kind = kind;
  options.optimizer.learning_rate = rate;
  return options;
}

Result<TrainResult> run(
    const Graph& graph, const std::shared_ptr<const Dataset>& data,
    const std::shared_ptr<const Dataset>& validation, const TrainOptions& options, Checkpoint& checkpoint,
    Recorder& recorder, const std::function<bool()>& stop = [] { return false; }) {
  const std::vector<TrainObserver*> observers{&recorder};
  return train(graph, layers(), data, validation, options, checkpoint, observers, stop);
}

TEST(Trainer, LearnsASeparableSet) {
  const auto data = striped_pictures(23, 3);
  const auto validation = striped_pictures(12, 3);
  const Graph graph = small_network(3, false);
  for (const auto& [kind, rate, momentum] : {std::tuple{OptimizerKind::kSgd, 0.2, 0.0},
                                             {OptimizerKind::kSgd, 0.05, 0.9},
                                             {OptimizerKind::kAdam, 0.02, 0.0}}) {
    TrainOptions options = options_of(kind, rate, 40);
    options.optimizer.momentum = momentum;
    Checkpoint checkpoint = fresh(graph, 2);
    Recorder recorder;
    const auto result = run(graph, data, validation, options, checkpoint, recorder);
    ASSERT_TRUE(result.ok()) << result.status().message();
    EXPECT_EQ(result->reason, StopReason::kFinished);
    EXPECT_EQ(result->steps, 200);
    EXPECT_GT(result->images_per_second, 0);
    ASSERT_TRUE(result->last_validation.has_value());
    EXPECT_EQ(result->last_validation->accuracy(), 1.0);
    ASSERT_EQ(recorder.steps.size(), 200U);
    EXPECT_LT(recorder.steps.back().loss, 0.3 * recorder.steps.front().loss);
    EXPECT_EQ(recorder.steps.back().accuracy, 1.0);
  }
}

TEST(Trainer, ReportsSayWhereTheRunStands) {
  const auto data = striped_pictures(12, 3);
  const Graph graph = small_network(3, false);
  TrainOptions options = options_of(OptimizerKind::kSgd, 0.1, 2);
  options.optimizer.warmup_steps = 4;
  Checkpoint checkpoint = fresh(graph, 2);
  Recorder recorder;
  ASSERT_TRUE(run(graph, data, nullptr, options, checkpoint, recorder).ok());
  ASSERT_EQ(recorder.steps.size(), 6U);
  for (int64_t i = 0; i < 6; ++i) {
    const StepReport& report = recorder.steps[static_cast<size_t>(i)];
    EXPECT_EQ(report.step, i + 1);
    EXPECT_EQ(report.total_steps, 6);
    EXPECT_EQ(report.epoch, i / 3);
    EXPECT_DOUBLE_EQ(report.learning_rate, 0.1 * std::min(1.0, static_cast<double>(i + 1) / 4));
    EXPECT_TRUE(std::isfinite(report.images_per_second));
    EXPECT_GE(report.seconds_left, 0);
    EXPECT_FALSE(report.validation.has_value());
  }
  EXPECT_EQ(recorder.steps.back().seconds_left, 0);
  EXPECT_EQ(checkpoint.state.step, 6U);
  EXPECT_EQ(checkpoint.state.epoch, 2U);
  EXPECT_EQ(checkpoint.state.batch_in_epoch, 0U);
  EXPECT_EQ(checkpoint.state.best_accuracy, -1);
}

TEST(Trainer, TheFirstLossIsThatOfTheInitialVariables) {
  const auto data = striped_pictures(5, 3);
  const Graph graph = small_network(3, false);
  Checkpoint checkpoint = fresh(graph, 2);
  for (const char* name : {"logits/kernel", "hidden/kernel"}) {
    Tensor* kernel = checkpoint.variables.find(name);
    std::fill_n(kernel->data(), kernel->size(), 0.0F);
  }
  TrainOptions options = options_of(OptimizerKind::kSgd, 0.1, 0);
  options.steps = 1;
  Recorder recorder;
  ASSERT_TRUE(run(graph, data, nullptr, options, checkpoint, recorder).ok());
  ASSERT_EQ(recorder.steps.size(), 1U);
  EXPECT_NEAR(recorder.steps[0].loss, std::log(3.0), 1e-9);
}

/// A short run with all that draws random numbers: augmentation, dropout and shuffling.
TrainOptions random_options(OptimizerKind kind) {
  TrainOptions options = options_of(kind, 0.05, 3);
  options.optimizer.momentum = 0.9;
  options.optimizer.weight_decay = 0.001;
  options.optimizer.schedule = LearningRateSchedule::kCosine;
  options.augmentation.flip = true;
  options.augmentation.brightness = 0.2F;
  options.augmentation.contrast = FactorRange{0.5F, 1.5F};
  return options;
}

TEST(Trainer, ThreadsDoNotChangeBits) {
  const auto data = striped_pictures(13, 3);
  const Graph graph = small_network(3, true);
  for (const OptimizerKind kind : {OptimizerKind::kSgd, OptimizerKind::kAdam}) {
    std::string expected;
    for (const int threads : {1, 2, 3}) {
      TrainOptions options = random_options(kind);
      options.threads = threads;
      Checkpoint checkpoint = fresh(graph, 2);
      Recorder recorder;
      ASSERT_TRUE(run(graph, data, data, options, checkpoint, recorder).ok());
      if (threads == 1) expected = bits_of(checkpoint.variables);
      EXPECT_TRUE(bits_of(checkpoint.variables) == expected) << threads << " threads";
    }
  }
}

TEST(Trainer, AnotherSeedGivesAnotherRun) {
  const auto data = striped_pictures(13, 3);
  const Graph graph = small_network(3, true);
  std::vector<std::string> bits;
  for (const uint64_t seed : {2, 2, 3}) {
    // From the same variables: order, augmentation and dropout alone differ.
    Checkpoint checkpoint = fresh(graph, 2);
    checkpoint.state.seed = seed;
    Recorder recorder;
    ASSERT_TRUE(run(graph, data, nullptr, random_options(OptimizerKind::kSgd), checkpoint, recorder).ok());
    bits.push_back(bits_of(checkpoint.variables));
  }
  EXPECT_TRUE(bits[0] == bits[1]);
  EXPECT_FALSE(bits[0] == bits[2]);
}

TEST(Trainer, GoingOnFromAnyStepEqualsTheUninterruptedRun) {
  const auto data = striped_pictures(13, 3);  // batches of 5, 5 and 3
  const auto validation = striped_pictures(6, 3);
  const Graph graph = small_network(3, true);
  for (const OptimizerKind kind : {OptimizerKind::kSgd, OptimizerKind::kAdam}) {
    const TrainOptions options = random_options(kind);
    Checkpoint whole = fresh(graph, 2);
    Recorder recorder;
    ASSERT_TRUE(run(graph, data, validation, options, whole, recorder).ok());
    ASSERT_EQ(whole.state.step, 9U);
    for (size_t stop_at = 1; stop_at < 9; ++stop_at) {
      Checkpoint first = fresh(graph, 2);
      Recorder before;
      const auto stopped = run(graph, data, validation, options, first, before,
                               [&] { return before.steps.size() + 1 >= stop_at; });
      ASSERT_TRUE(stopped.ok()) << stopped.status().message();
      EXPECT_EQ(stopped->reason, StopReason::kStopRequested);
      EXPECT_EQ(stopped->steps, static_cast<int64_t>(stop_at));
      ASSERT_FALSE(before.checkpoints.empty());
      // What was handed out last, not what stayed in memory.
      Checkpoint second = Recorder::checkpoint_copy(before.checkpoints.back());
      EXPECT_EQ(second.state.step, stop_at);
      Recorder after;
      const auto finished = run(graph, data, validation, options, second, after);
      ASSERT_TRUE(finished.ok()) << finished.status().message();
      EXPECT_EQ(finished->steps, 9);
      EXPECT_EQ(second.state, whole.state) << "stopped at step " << stop_at;
      EXPECT_TRUE(bits_of(second.variables) == bits_of(whole.variables)) << "stopped at step " << stop_at;
      ASSERT_EQ(after.steps.size(), 9 - stop_at);
      for (size_t i = 0; i < after.steps.size(); ++i) {
        EXPECT_EQ(after.steps[i].loss, recorder.steps[stop_at + i].loss);
        EXPECT_EQ(after.steps[i].epoch, recorder.steps[stop_at + i].epoch);
      }
    }
  }
}

TEST(Trainer, ARunThatHasEndedDoesNothingMore) {
  const auto data = striped_pictures(13, 3);
  const Graph graph = small_network(3, false);
  const TrainOptions options = options_of(OptimizerKind::kSgd, 0.1, 1);
  Checkpoint checkpoint = fresh(graph, 2);
  Recorder recorder;
  ASSERT_TRUE(run(graph, data, nullptr, options, checkpoint, recorder).ok());
  const std::string bits = bits_of(checkpoint.variables);
  for (const uint64_t step : {uint64_t{3}, uint64_t{100}, ~uint64_t{0}}) {
    checkpoint.state.step = step;
    Recorder again;
    const auto result = run(graph, data, nullptr, options, checkpoint, again);
    ASSERT_TRUE(result.ok());
    EXPECT_TRUE(again.steps.empty());
    EXPECT_TRUE(bits_of(checkpoint.variables) == bits);
  }
}

TEST(Trainer, CheckpointsComeAtTheEndOfEpochsOrAsAsked) {
  const auto data = striped_pictures(13, 3);
  const Graph graph = small_network(3, false);
  const auto steps_of = [&](int64_t every, int64_t steps) {
    TrainOptions options = options_of(OptimizerKind::kSgd, 0.1, 0);
    options.checkpoint_every = every;
    options.steps = steps;
    Checkpoint checkpoint = fresh(graph, 2);
    Recorder recorder;
    EXPECT_TRUE(run(graph, data, nullptr, options, checkpoint, recorder).ok());
    EXPECT_TRUE(recorder.best_steps.empty());
    return recorder.checkpoint_steps;
  };
  EXPECT_THAT(steps_of(0, 7), ElementsAre(3, 6, 7));
  EXPECT_THAT(steps_of(2, 7), ElementsAre(2, 4, 6, 7));
  EXPECT_THAT(steps_of(100, 4), ElementsAre(4));
  EXPECT_THAT(steps_of(0, 6), ElementsAre(3, 6));
}

TEST(Trainer, ValidationComesAtTheEndOfEpochsOrAsAsked) {
  const auto data = striped_pictures(13, 3);
  const Graph graph = small_network(3, false);
  const auto steps_of = [&](int64_t every, int64_t steps) {
    TrainOptions options = options_of(OptimizerKind::kSgd, 0.1, 0);
    options.validate_every = every;
    options.checkpoint_every = 1000;
    options.steps = steps;
    Checkpoint checkpoint = fresh(graph, 2);
    Recorder recorder;
    EXPECT_TRUE(run(graph, data, striped_pictures(9, 3), options, checkpoint, recorder).ok());
    // A best checkpoint is handed out exactly where validation is better than ever before.
    double best = -1;
    uint64_t best_step = 0;
    std::vector<int64_t> expected_best;
    std::vector<int64_t> validated;
    for (const StepReport& report : recorder.steps) {
      if (!report.validation) continue;
      validated.push_back(report.step);
      if (report.validation->accuracy() <= best) continue;
      best = report.validation->accuracy();
      best_step = static_cast<uint64_t>(report.step);
      expected_best.push_back(report.step);
    }
    EXPECT_EQ(recorder.best_steps, expected_best);
    EXPECT_EQ(checkpoint.state.best_accuracy, best);
    EXPECT_EQ(checkpoint.state.best_step, best_step);
    std::vector<int64_t> expected_checkpoints = expected_best;
    if (expected_checkpoints.empty() || expected_checkpoints.back() != steps)
      expected_checkpoints.push_back(steps);
    EXPECT_EQ(recorder.checkpoint_steps, expected_checkpoints);
    return validated;
  };
  EXPECT_THAT(steps_of(0, 7), ElementsAre(3, 6, 7));
  EXPECT_THAT(steps_of(2, 7), ElementsAre(2, 4, 6, 7));
  EXPECT_THAT(steps_of(0, 30), ElementsAre(3, 6, 9, 12, 15, 18, 21, 24, 27, 30));
}

TEST(Trainer, StopsAtAccuracy) {
  const auto data = striped_pictures(23, 3);
  const Graph graph = small_network(3, false);
  TrainOptions options = options_of(OptimizerKind::kAdam, 0.02, 200);
  options.stop_at_accuracy = 1.0;
  options.validate_every = 3;
  Checkpoint checkpoint = fresh(graph, 2);
  Recorder recorder;
  const auto result = run(graph, data, data, options, checkpoint, recorder);
  ASSERT_TRUE(result.ok()) << result.status().message();
  EXPECT_EQ(result->reason, StopReason::kReachedAccuracy);
  EXPECT_LT(result->steps, 1000);
  EXPECT_EQ(result->steps % 3, 0);
  EXPECT_EQ(result->last_validation->accuracy(), 1.0);
  EXPECT_EQ(recorder.best_steps.back(), result->steps);
  EXPECT_EQ(recorder.checkpoint_steps.back(), result->steps);
  // Going on ends at once: it is reached already.
  Recorder again;
  const auto more = run(graph, data, data, options, checkpoint, again);
  ASSERT_TRUE(more.ok());
  EXPECT_EQ(more->reason, StopReason::kReachedAccuracy);
  EXPECT_TRUE(again.steps.empty());
}

TEST(Trainer, AStopAtTheLastStepIsTheEnd) {
  const Graph graph = small_network(3, false);
  Checkpoint checkpoint = fresh(graph, 2);
  Recorder recorder;
  const auto result = run(graph, striped_pictures(5, 3), nullptr, options_of(OptimizerKind::kSgd, 0.1, 1),
                          checkpoint, recorder, [] { return true; });
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->reason, StopReason::kFinished);
}

TEST(Trainer, ALossThatIsNotFiniteEndsTheRun) {
  const Graph graph = small_network(3, false);
  Checkpoint checkpoint = fresh(graph, 2);
  checkpoint.variables.find("logits/bias")->data()[0] = std::numeric_limits<float>::quiet_NaN();
  Recorder recorder;
  TrainOptions options = options_of(OptimizerKind::kSgd, 0.1, 2);
  options.shuffle = false;
  const Status status = run(graph, striped_pictures(13, 3), nullptr, options, checkpoint, recorder).status();
  EXPECT_EQ(status.code(), StatusCode::kDiverged);
  EXPECT_THAT(status.message(), HasSubstr("step 1: the loss is nan"));
  EXPECT_THAT(status.message(), HasSubstr("grey[0], grey[1], grey[2] and 2 more"));
  EXPECT_TRUE(recorder.checkpoints.empty());
}

TEST(Trainer, DivergenceLeavesTheLastGoodCheckpoint) {
  const Graph graph = small_network(3, false);
  Checkpoint checkpoint = fresh(graph, 2);
  Recorder recorder;
  TrainOptions options = options_of(OptimizerKind::kSgd, 1e30, 20);
  options.checkpoint_every = 1;
  const Status status = run(graph, striped_pictures(13, 3), nullptr, options, checkpoint, recorder).status();
  EXPECT_EQ(status.code(), StatusCode::kDiverged);
  EXPECT_THAT(status.message(), HasSubstr("step "));
  for (const Checkpoint& good : recorder.checkpoints) {
    for (const auto& [name, tensor] : good.variables.tensors()) {
      for (int64_t i = 0; i < tensor.size(); ++i) ASSERT_TRUE(std::isfinite(tensor.data()[i])) << name;
    }
  }
}

TEST(Trainer, AVariableThatIsNotFiniteIsNotHandedOut) {
  const Graph graph = small_network(3, false);
  Checkpoint checkpoint = fresh(graph, 2);
  TrainOptions options = options_of(OptimizerKind::kSgd, 0.1, 0);
  options.steps = 1;
  options.optimizer.learning_rate = std::numeric_limits<double>::infinity();
  Recorder recorder;
  const Status status = run(graph, striped_pictures(5, 3), nullptr, options, checkpoint, recorder).status();
  EXPECT_EQ(status.code(), StatusCode::kDiverged);
  EXPECT_THAT(status.message(), HasSubstr("step 1: variable "));
  EXPECT_TRUE(recorder.checkpoints.empty());
}

TEST(Trainer, ABatchMayBeLargerThanTheData) {
  const Graph graph = small_network(3, false);
  std::vector<std::string> bits;
  for (const int64_t batch : {int64_t{7}, int64_t{1000}, std::numeric_limits<int64_t>::max()}) {
    Checkpoint checkpoint = fresh(graph, 2);
    Recorder recorder;
    TrainOptions options = options_of(OptimizerKind::kSgd, 0.1, 3);
    options.batch_size = batch;
    const auto result =
        run(graph, striped_pictures(7, 3), striped_pictures(3, 3), options, checkpoint, recorder);
    ASSERT_TRUE(result.ok()) << result.status().message();
    EXPECT_EQ(result->steps, 3);
    EXPECT_GE(recorder.steps.front().seconds_left, 0);
    bits.push_back(bits_of(checkpoint.variables));
  }
  EXPECT_TRUE(bits[0] == bits[1]);
  EXPECT_TRUE(bits[0] == bits[2]);
}

TEST(Trainer, OneClassIsLearntAtOnce) {
  const Graph graph = small_network(1, false);
  Checkpoint checkpoint = fresh(graph, 2);
  Recorder recorder;
  const auto data = striped_pictures(4, 1);
  const auto result = run(graph, data, data, options_of(OptimizerKind::kSgd, 0.1, 1), checkpoint, recorder);
  ASSERT_TRUE(result.ok()) << result.status().message();
  EXPECT_EQ(result->last_validation->accuracy(), 1.0);
  EXPECT_EQ(recorder.steps[0].loss, 0.0);
}

TEST(Trainer, ClassesMustAgree) {
  const Graph graph = small_network(3, false);
  Checkpoint checkpoint = fresh(graph, 2);
  Recorder recorder;
  const TrainOptions options = options_of(OptimizerKind::kSgd, 0.1, 1);
  Status status = run(graph, striped_pictures(8, 4), nullptr, options, checkpoint, recorder).status();
  EXPECT_EQ(status.code(), StatusCode::kBadData);
  EXPECT_THAT(status.message(), HasSubstr("[5, 3], but the data has 4 classes (expected [5, 4])"));
  // That validation does not fit is found before the first step.
  status = run(graph, striped_pictures(9, 3), striped_pictures(8, 4), options, checkpoint, recorder).status();
  EXPECT_EQ(status.code(), StatusCode::kBadData);
  EXPECT_THAT(status.message(), HasSubstr("the validation data has 4 classes"));
  EXPECT_TRUE(recorder.steps.empty());
  // Logits must be [N, classes].
  status = run(graph_of({layer("r", "ReLU", "input")}), striped_pictures(16, 4), nullptr, options, checkpoint,
               recorder)
               .status();
  EXPECT_EQ(status.code(), StatusCode::kBadData);
}

TEST(Trainer, VariablesMustBeThere) {
  const Graph graph = small_network(3, false);
  Checkpoint checkpoint;
  Recorder recorder;
  const Status status = run(graph, striped_pictures(9, 3), nullptr, options_of(OptimizerKind::kSgd, 0.1, 1),
                            checkpoint, recorder)
                            .status();
  EXPECT_EQ(status.code(), StatusCode::kBadData);
  EXPECT_THAT(status.message(), HasSubstr("hidden/kernel [16, 6] is missing"));
}

TEST(Trainer, ErrorsOfObserversEndTheRun) {
  const Graph graph = small_network(3, false);
  Checkpoint checkpoint = fresh(graph, 2);
  Recorder step_fails;
  step_fails.fail_at_step = 2;
  const auto data = striped_pictures(13, 3);
  const TrainOptions options = options_of(OptimizerKind::kSgd, 0.1, 4);
  auto result = run(graph, data, nullptr, options, checkpoint, step_fails);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.status().code(), StatusCode::kIo);
  EXPECT_EQ(step_fails.steps.size(), 2U);

  checkpoint = fresh(graph, 2);
  Recorder checkpoint_fails;
  checkpoint_fails.fail_at_checkpoint = 6;
  result = run(graph, data, nullptr, options, checkpoint, checkpoint_fails);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.status().message(), "disk full");
  EXPECT_THAT(checkpoint_fails.checkpoint_steps, ElementsAre(3, 6));
  EXPECT_EQ(checkpoint_fails.steps.size(), 6U);
}

TEST(Trainer, TotalSteps) {
  TrainOptions options;
  options.batch_size = 5;
  options.epochs = 3;
  EXPECT_EQ(total_steps(options, 13), 9);
  EXPECT_EQ(total_steps(options, 10), 6);
  options.steps = 4;
  EXPECT_EQ(total_steps(options, 13), 4);
  options.steps = 0;
  options.epochs = std::numeric_limits<int64_t>::max();
  EXPECT_EQ(total_steps(options, 13), std::numeric_limits<int64_t>::max());
}

TEST(Trainer, EndAndBatchMustBeGiven) {
  const Graph graph = small_network(3, false);
  Checkpoint checkpoint = fresh(graph, 2);
  Recorder recorder;
  TrainOptions options = options_of(OptimizerKind::kSgd, 0.1, 0);
  EXPECT_EQ(run(graph, striped_pictures(9, 3), nullptr, options, checkpoint, recorder).status().code(),
            StatusCode::kUsage);
  options.epochs = 1;
  options.batch_size = 0;
  EXPECT_EQ(run(graph, striped_pictures(9, 3), nullptr, options, checkpoint, recorder).status().code(),
            StatusCode::kUsage);
}

}  // namespace
}  // namespace nacre
