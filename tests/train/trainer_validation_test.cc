// Validation during training: when it comes, what it ends, what it does to the time that is left.
#include <algorithm>

#include "tests/train/trainer_fixture.h"

namespace nacre {
namespace {

using testing::ElementsAre;

TEST(TrainerValidation, ValidationComesAtTheEndOfEpochsOrAsAsked) {
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

TEST(TrainerValidation, StopsAtAccuracy) {
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

TEST(TrainerValidation, ScoresThatAreNotFiniteEndTheRun) {
  // Black pictures train whatever the weights are; brighter ones overflow.
  InputContract contract;
  contract.height = 4;
  contract.width = 4;
  contract.channels = 1;
  const auto black =
      Dataset::from_pixels(std::vector<uint8_t>(48), 4, 4, 1, {0, 1, 2}, {"a", "b", "c"}, contract, "black");
  ASSERT_TRUE(black.ok()) << black.status().message();
  const Graph graph = small_network(3, false);
  Checkpoint checkpoint = fresh(graph, 2);
  Tensor* kernel = checkpoint.variables.find("hidden/kernel");
  std::fill_n(kernel->data(), kernel->size(), 1e38F);
  TrainOptions options = options_of(OptimizerKind::kSgd, 0.1, 2);
  options.stop_at_accuracy = 0.1;
  Recorder recorder;
  const Status status = run(graph, *black, striped_pictures(6, 3), options, checkpoint, recorder).status();
  EXPECT_EQ(status.code(), StatusCode::kDiverged);
  EXPECT_EQ(status.message(), "step 1: validation: the network's scores for grey[0] are not finite");
  EXPECT_TRUE(recorder.steps.empty());
  EXPECT_TRUE(recorder.checkpoints.empty());
  EXPECT_LT(checkpoint.state.best_accuracy, 0);
}

TEST(TrainerValidation, PatienceEndsARunThatNoLongerGetsBetter) {
  const auto data = striped_pictures(13, 3);  // 3 batches an epoch
  const auto validation = striped_pictures(6, 3);
  const Graph graph = small_network(3, false);
  for (const int64_t every : {0, 2}) {
    // Without a learning rate the first validation stays the best.
    TrainOptions options = options_of(OptimizerKind::kSgd, 0.0, 100);
    options.patience = 4;
    options.validate_every = every;
    const int64_t interval = every == 0 ? 3 : every;
    const int64_t end = 5 * interval;
    Checkpoint checkpoint = fresh(graph, 2);
    Recorder recorder;
    const auto result = run(graph, data, validation, options, checkpoint, recorder);
    ASSERT_TRUE(result.ok()) << result.status().message();
    EXPECT_EQ(result->reason, StopReason::kNoImprovement);
    EXPECT_EQ(result->steps, end);
    EXPECT_EQ(checkpoint.state.best_step, static_cast<uint64_t>(interval));
    EXPECT_EQ(recorder.checkpoint_steps.back(), end);
    // Interrupted anywhere, it stops at the same step; having stopped, it stays so.
    for (int64_t stop = 1; stop <= end; ++stop) {
      Checkpoint part = fresh(graph, 2);
      Recorder before;
      ASSERT_TRUE(run(graph, data, validation, options, part, before, [&] {
                    return static_cast<int64_t>(before.steps.size()) + 1 >= stop;
                  }).ok());
      Checkpoint again = Recorder::checkpoint_copy(before.checkpoints.back());
      Recorder after;
      const auto resumed = run(graph, data, validation, options, again, after);
      ASSERT_TRUE(resumed.ok());
      EXPECT_EQ(resumed->reason, StopReason::kNoImprovement);
      EXPECT_EQ(resumed->steps, end);
      EXPECT_EQ(static_cast<int64_t>(after.steps.size()), end - stop);
    }
  }
}

TEST(TrainerValidation, PatienceCountsTheValidationsThatWere) {
  const auto data = striped_pictures(13, 3);  // 3 batches an epoch
  const auto validation = striped_pictures(6, 3);
  const Graph graph = small_network(3, false);
  TrainOptions options = options_of(OptimizerKind::kSgd, 0.0, 0);  // the first validation stays the best
  options.patience = 5;
  options.validate_every = 2;
  options.steps = 9;
  Checkpoint checkpoint = fresh(graph, 2);
  Recorder recorder;
  ASSERT_TRUE(run(graph, data, validation, options, checkpoint, recorder).ok());
  EXPECT_EQ(checkpoint.state.best_step, 2U);
  // At steps 4, 6 and 8; the one at the end, at step 9, is out of turn.
  EXPECT_EQ(checkpoint.state.validations_since_best, 3U);
  // However often the run validates from now on, two more are wanted.
  options.steps = 1000;
  for (const auto& [every, end] : {std::pair{1, 11}, {2, 12}, {50, 100}, {0, 15}}) {
    options.validate_every = every;
    Checkpoint again = Recorder::checkpoint_copy(checkpoint);
    const auto result = run(graph, data, validation, options, again, recorder);
    ASSERT_TRUE(result.ok()) << result.status().message();
    EXPECT_EQ(result->reason, StopReason::kNoImprovement);
    EXPECT_EQ(result->steps, end) << "validating every " << every;
  }
}

TEST(TrainerValidation, TimeLeftCountsTheValidationsToCome) {
  const auto data = striped_pictures(12, 3);  // 3 batches an epoch
  const Graph graph = small_network(3, false);
  // How many validations are to come after each of 8 steps.
  const std::vector<std::pair<int64_t, std::vector<int>>> cases{{3, {3, 3, 2, 2, 2, 1, 1, 0}},
                                                                {0, {3, 3, 2, 2, 2, 1, 1, 0}},
                                                                {4, {2, 2, 2, 1, 1, 1, 1, 0}},
                                                                {1, {7, 6, 5, 4, 3, 2, 1, 0}},
                                                                {100, {1, 1, 1, 1, 1, 1, 1, 0}}};
  for (const auto& [every, left] : cases) {
    TrainOptions options = options_of(OptimizerKind::kSgd, 0.1, 0);
    options.steps = 8;
    options.validate_every = every;
    Checkpoint checkpoint = fresh(graph, 2);
    Recorder recorder;
    const auto result = run(graph, data, data, options, checkpoint, recorder);
    ASSERT_TRUE(result.ok()) << result.status().message();
    double last = 0;
    double all = 0;
    for (size_t i = 0; i < 8; ++i) {
      const StepReport& report = recorder.steps[i];
      EXPECT_EQ(report.validation_seconds > 0, report.validation.has_value());
      if (report.validation.has_value()) last = report.validation_seconds;
      all += report.validation_seconds;
      const double steps = static_cast<double>(8 - report.step) * 5 / report.images_per_second;
      EXPECT_DOUBLE_EQ(report.seconds_left, steps + left[i] * last)
          << "every " << every << ", step " << i + 1;
    }
    EXPECT_DOUBLE_EQ(result->validation_seconds, all);
  }
}

}  // namespace
}  // namespace nacre
