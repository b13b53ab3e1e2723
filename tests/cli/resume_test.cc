#include <csignal>
#include <filesystem>
#include <fstream>

#include "tests/cli/run_fixture.h"

namespace nacre {
namespace {

namespace fs = std::filesystem;

using testing::HasSubstr;

class ResumeTest : public RunTest {
 protected:
  /// A run that was stopped after 12 of its steps.
  void half_a_run(const std::string& run, const std::vector<std::string>& more = {}) {
    const Outcome outcome = train(run, more);
    ASSERT_EQ(outcome.code, 0) << outcome.err;
  }
  void expect_refused(const Outcome& outcome, const std::string& named) {
    EXPECT_EQ(outcome.code, 3) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(named));
  }
};

TEST_F(ResumeTest, GoesOnBitForBit) {
  ASSERT_EQ(train("whole", {"--epochs", "4"}).code, 0);
  half_a_run("run");
  const Outcome outcome = train("run", {"--epochs", "4", "--resume"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_TRUE(identical("whole", "run"));
  // The time is not that of the steps before.
  EXPECT_THAT(outcome.out, HasSubstr("Trained tiny for 12 more steps, after step 12, in "));
  const auto whole = metrics("whole");
  const auto resumed = metrics("run");
  ASSERT_EQ(whole.size(), resumed.size());
  for (size_t i = 0; i < whole.size(); ++i) EXPECT_EQ(whole[i].at("loss"), resumed[i].at("loss"));
}

TEST_F(ResumeTest, KilledAtAnyMomentItEqualsTheUninterruptedRun) {
  const std::vector<std::string> options{"--epochs", "20", "--checkpoint-every", "3", "--augment", "flip",
                                         "--keep",   "2"};
  ASSERT_EQ(train("whole", options).code, 0);
  std::vector<std::string> again = options;
  again.emplace_back("--resume");
  bool killed = false;
  for (int delay = 0; delay < 12; ++delay) {
    const std::string run = "run" + std::to_string(delay % 3);
    Process process(train_arguments(run, again), folder_);
    usleep(static_cast<useconds_t>(7000 * (delay + 1)));
    process.send(SIGKILL);
    killed = process.wait().code == 128 + SIGKILL || killed;
  }
  EXPECT_TRUE(killed);
  for (const std::string run : {"run0", "run1", "run2"}) {
    const Outcome outcome = train(run, again);
    ASSERT_EQ(outcome.code, 0) << outcome.err;
    EXPECT_TRUE(identical("whole", run));
    const auto lines = metrics(run);
    ASSERT_EQ(lines.size(), 120U);
    for (size_t i = 0; i < lines.size(); ++i) EXPECT_EQ(lines[i].at("step"), i + 1);
    EXPECT_EQ(fs::read_symlink(path("whole/checkpoints/best")),
              fs::read_symlink(path(run + "/checkpoints/best")));
  }
}

TEST_F(ResumeTest, WhatAKillBeforeTheFirstFileLeavesIsNoObstacle) {
  fs::create_directories(path("run/checkpoints"));
  for (const std::string name :
       {"run/.lock", "run/.config.json.tmp", "run/checkpoints/.step-00000003.ckpt.tmp"}) {
    std::ofstream(path(name)) << "half";
  }
  const Outcome outcome = train("run", {"--epochs", "1", "--resume"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
}

TEST_F(ResumeTest, AStoppedRunGoesOn) {
  ASSERT_EQ(train("whole", {"--steps", "2000"}).code, 0);
  Process process(train_arguments("run", {"--steps", "2000"}), folder_);
  while (process.running() && !exists("run/metrics.jsonl")) usleep(500);
  process.send(SIGTERM);
  EXPECT_EQ(process.wait().code, 143);
  const Outcome outcome = nacre({"train", "--resume", "--out", "run"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_TRUE(identical("whole", "run"));
}

TEST_F(ResumeTest, LaterMetricsAreCutOff) {
  half_a_run("run");
  write("run/metrics.jsonl", read("run/metrics.jsonl") + "{\"step\":13,\"loss\":1}\n{\"step\":14,\"lo");
  ASSERT_EQ(train("run", {"--epochs", "3", "--resume"}).code, 0);
  const auto lines = metrics("run");
  ASSERT_EQ(lines.size(), 18U);
  EXPECT_EQ(lines[12].at("step"), 13);
  EXPECT_TRUE(lines[12].contains("accuracy"));
}

TEST_F(ResumeTest, WithoutACheckpointItStartsAnew) {
  const Outcome outcome = train("run", {"--resume"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("starts anew"));
  EXPECT_EQ(metrics("run").size(), 12U);
}

TEST_F(ResumeTest, WithoutARunItSaysWhatANewOneNeeds) {
  const Outcome outcome = nacre({"train", "--resume", "--out", "run"});
  EXPECT_EQ(outcome.code, 2);
  EXPECT_EQ(outcome.err, "nacre: run: holds no run to go on with; a new one needs --model and --data\n");
}

TEST_F(ResumeTest, AFinishedRunSaysSo) {
  half_a_run("run");
  const Outcome outcome = train("run", {"--resume"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("had ended already"));
}

TEST_F(ResumeTest, OtherDataSeedOrOptionsAreRefused) {
  half_a_run("run");
  const std::string before = read("run/config.json");
  expect_refused(train("run", {"--resume", "--epochs", "3", "--seed", "1"}), "seed (1, was 0)");
  expect_refused(train("run", {"--resume", "--epochs", "3", "--learning-rate", "0.5"}), "learning-rate");
  expect_refused(train("run", {"--resume", "--epochs", "3", "--batch-size", "20"}),
                 "batch-size (20, was 10)");
  expect_refused(train("run", {"--resume", "--epochs", "3", "--augment", "flip"}), "augment");
  expect_refused(train("run", {"--resume", "--epochs", "3", "--no-shuffle"}), "no-shuffle");
  expect_refused(train("run", {"--resume", "--epochs", "3", "--optimizer", "sgd"}), "optimizer");
  write_idx("idx", 60, 30, 1);
  expect_refused(train("run", {"--resume", "--epochs", "3"}), "data (its list");
  EXPECT_EQ(read("run/config.json"), before);
  EXPECT_EQ(metrics("run").size(), 12U);
  const Outcome forced = train("run", {"--resume", "--epochs", "6", "--force", "--batch-size", "20",
                                       "--optimizer", "sgd", "--threads", "2"});
  EXPECT_EQ(forced.code, 0) << forced.err;
  EXPECT_THAT(forced.err, HasSubstr("different now: "));
  EXPECT_EQ(metrics("run").back().at("step"), 18);
}

TEST_F(ResumeTest, ABestAccuracyOfOtherImagesIsRefusedOrForgotten) {
  half_a_run("run");
  const auto best = [&] {
    const Outcome outcome = nacre({"inspect", "run/checkpoints/latest", "--json"});
    const auto accuracy = nlohmann::json::parse(outcome.out).at("state").at("best_accuracy");
    return accuracy.is_null() ? -1 : accuracy.get<double>();
  };
  ASSERT_GT(best(), 0);
  write_idx("other", 60, 30, 3);
  const std::vector<std::string> other{"--resume", "--validation", "other", "--epochs", "3"};
  expect_refused(train("run", other), "validation (its list of images");
  // Nor does a resume without validation make them forgotten.
  fs::remove(path("idx/t10k-images-idx3-ubyte"));
  ASSERT_EQ(train("run", {"--resume"}).code, 0);
  expect_refused(train("run", other), "validation (its list of images");
  // Without a step more.
  const Outcome outcome = train("run", {"--resume", "--validation", "other", "--force"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("the best accuracy so far counts no more"));
  EXPECT_EQ(best(), -1);
  EXPECT_EQ(train("run", other).code, 0);
  EXPECT_GT(best(), 0);
}

TEST_F(ResumeTest, LengthOutputAndThreadsMayDiffer) {
  half_a_run("run");
  const Outcome outcome =
      train("run", {"--resume", "--epochs", "3", "--threads", "2", "--keep", "1", "--checkpoint-every", "2",
                    "--validate-every", "2", "--cache-mib", "0", "--skip-bad", "3"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
}

TEST_F(ResumeTest, AStretchedScheduleIsMentioned) {
  half_a_run("run", {"--lr-schedule", "cosine"});
  const Outcome outcome = train("run", {"--resume", "--epochs", "3", "--lr-schedule", "cosine"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("ends at step 18 instead of 12"));
}

TEST_F(ResumeTest, AnotherNetworkIsRefused) {
  half_a_run("run");
  write_model("tiny.json", "{}", 5);
  const Outcome outcome = train("run", {"--resume", "--epochs", "3", "--force"});
  expect_refused(outcome, "conv1/kernel");
  EXPECT_THAT(outcome.err, HasSubstr("[3, 3, 1, 5]"));
}

TEST_F(ResumeTest, ACorruptCheckpointIsRefused) {
  half_a_run("run");
  std::string bytes = read("run/checkpoints/step-00000012.ckpt");
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
  write("run/checkpoints/step-00000012.ckpt", bytes);
  const Outcome outcome = train("run", {"--resume", "--epochs", "3"});
  EXPECT_EQ(outcome.code, 4) << outcome.err;
}

TEST_F(ResumeTest, OverwriteAndResumeExcludeEachOther) {
  EXPECT_EQ(train("run", {"--resume", "--overwrite"}).code, 2);
}

}  // namespace
}  // namespace nacre
