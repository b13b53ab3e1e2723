#include "train/trainer.h"

#include <cmath>
#include <limits>

#include "tests/train/trainer_fixture.h"

namespace nacre {
namespace {

using testing::ElementsAre;

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

TEST(Trainer, SmoothingAndWeightsAreInTheTrainingLossAlone) {
  const auto data = striped_pictures(5, 3);  // classes of 2, 2 and 1 images
  const Graph graph = small_network(3, false);
  const auto run_with = [&](double smoothing, ClassWeights weights) {
    Checkpoint checkpoint = fresh(graph, 2);
    TrainOptions options = options_of(OptimizerKind::kSgd, 0.0, 0);
    options.steps = 1;
    options.label_smoothing = smoothing;
    options.class_weights = weights;
    Recorder recorder;
    EXPECT_TRUE(run(graph, data, data, options, checkpoint, recorder).ok());
    return recorder.steps.at(0);
  };
  const StepReport plain = run_with(0, ClassWeights::kNone);
  const StepReport smooth = run_with(0.3, ClassWeights::kNone);
  const StepReport balanced = run_with(0, ClassWeights::kBalanced);
  EXPECT_NEAR(plain.loss, plain.validation->loss, 1e-6);
  EXPECT_NE(smooth.loss, plain.loss);
  EXPECT_NE(balanced.loss, plain.loss);
  EXPECT_EQ(smooth.validation->loss, plain.validation->loss);
  EXPECT_EQ(balanced.validation->loss, plain.validation->loss);
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
  options.augmentation.crop = 1;
  options.label_smoothing = 0.1;
  options.class_weights = ClassWeights::kBalanced;
  options.optimizer.clip_norm = 0.5;
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

TEST(Trainer, AStopAtTheLastStepIsTheEnd) {
  const Graph graph = small_network(3, false);
  Checkpoint checkpoint = fresh(graph, 2);
  Recorder recorder;
  const auto result = run(graph, striped_pictures(5, 3), nullptr, options_of(OptimizerKind::kSgd, 0.1, 1),
                          checkpoint, recorder, [] { return true; });
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->reason, StopReason::kFinished);
}

}  // namespace
}  // namespace nacre
