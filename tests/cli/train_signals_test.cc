#include <sys/resource.h>

#include <csignal>

#include "tests/cli/run_fixture.h"

namespace nacre {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

using TrainSignalsTest = RunTest;

TEST_F(TrainSignalsTest, SigtermStopsAfterACheckpoint) {
  for (const auto& [signal, code] : {std::pair{SIGTERM, 143}, {SIGINT, 130}, {SIGHUP, 143}}) {
    const std::string run = "run" + std::to_string(signal);
    Process process(train_arguments(run, {"--epochs", "100000", "--checkpoint-every", "1000000",
                                          "--validate-every", "1000000"}),
                    folder_);
    while (process.running() && !exists(run + "/metrics.jsonl")) usleep(1000);
    usleep(20000);
    process.send(signal);
    const Outcome outcome = process.wait();
    EXPECT_EQ(outcome.code, code) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr("--resume"));
    EXPECT_TRUE(exists(run + "/checkpoints/latest"));
    EXPECT_EQ(checkpoints(run).size(), 2U);
  }
}

TEST_F(TrainSignalsTest, ASignalThatItWasStartedToIgnoreStaysIgnored) {
  const auto before = std::signal(SIGHUP, SIG_IGN);  // as nohup does
  Process process(train_arguments("run", {"--epochs", "100000", "--validate-every", "1000000"}), folder_);
  std::signal(SIGHUP, before);
  while (process.running() && !exists("run/metrics.jsonl")) usleep(1000);
  usleep(20000);
  process.send(SIGHUP);
  usleep(100000);
  EXPECT_TRUE(process.running());
  process.send(SIGTERM);
  EXPECT_EQ(process.wait().code, 143);
}

TEST_F(TrainSignalsTest, AFileOverTheLimitOfItsSizeIsAnError) {
  rlimit limit{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &limit), 0);
  const rlimit small{2048, limit.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  Process process(train_arguments("run"), folder_);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  const Outcome outcome = process.wait();
  EXPECT_EQ(outcome.code, 5) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("File too large"));
  EXPECT_THAT(checkpoints("run"), ElementsAre());
}

}  // namespace
}  // namespace nacre
