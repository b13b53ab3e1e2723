// Training at its edges: divergence, tiny data, and what cannot be trained.
#include <cmath>
#include <limits>

#include "tests/train/trainer_fixture.h"

namespace nacre {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(TrainerEdge, ALossThatIsNotFiniteEndsTheRun) {
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

TEST(TrainerEdge, DivergenceLeavesTheLastGoodCheckpoint) {
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

TEST(TrainerEdge, AVariableThatIsNotFiniteIsNotHandedOut) {
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

TEST(TrainerEdge, ABatchMayBeLargerThanTheData) {
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

TEST(TrainerEdge, OneClassIsLearntAtOnce) {
  const Graph graph = small_network(1, false);
  Checkpoint checkpoint = fresh(graph, 2);
  Recorder recorder;
  const auto data = striped_pictures(4, 1);
  const auto result = run(graph, data, data, options_of(OptimizerKind::kSgd, 0.1, 1), checkpoint, recorder);
  ASSERT_TRUE(result.ok()) << result.status().message();
  EXPECT_EQ(result->last_validation->accuracy(), 1.0);
  EXPECT_EQ(recorder.steps[0].loss, 0.0);
}

TEST(TrainerEdge, ClassesMustAgree) {
  const Graph graph = small_network(3, false);
  Checkpoint checkpoint = fresh(graph, 2);
  Recorder recorder;
  const TrainOptions options = options_of(OptimizerKind::kSgd, 0.1, 1);
  Status status = run(graph, striped_pictures(8, 4), nullptr, options, checkpoint, recorder).status();
  EXPECT_EQ(status.code(), StatusCode::kBadData);
  EXPECT_THAT(status.message(),
              HasSubstr("the output is [N, 3], but the data has 4 classes (expected [N, 4])"));
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

TEST(TrainerEdge, VariablesMustBeThere) {
  const Graph graph = small_network(3, false);
  Checkpoint checkpoint;
  Recorder recorder;
  const Status status = run(graph, striped_pictures(9, 3), nullptr, options_of(OptimizerKind::kSgd, 0.1, 1),
                            checkpoint, recorder)
                            .status();
  EXPECT_EQ(status.code(), StatusCode::kBadData);
  EXPECT_THAT(status.message(), HasSubstr("hidden/kernel [16, 6] is missing"));
}

TEST(TrainerEdge, ErrorsOfObserversEndTheRun) {
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

TEST(TrainerEdge, TotalSteps) {
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

TEST(TrainerEdge, EndAndBatchMustBeGiven) {
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
