#include "serve/batching.h"

#include <gmock/gmock.h>

#include <atomic>
#include <thread>

#include "layers/registry.h"
#include "tests/serve/serve_fixture.h"

namespace nacre {
namespace {

using ::testing::HasSubstr;

constexpr size_t kRow = 6 * 6 * 3;

class Batching : public testing::Test {
 protected:
  Model model_ = *Model::make(std::make_shared<const Bundle>(make_small_bundle(1)), builtin_ops());
  std::shared_ptr<ComputeSlots> slots_ = std::make_shared<ComputeSlots>(1, 10);
  ServeMetrics metrics_;
};

TEST_F(Batching, CallsThatComeTogetherAreOneBatch) {
  BatchingOptions options;
  options.max_batch_size = 4;
  options.batch_timeout = std::chrono::seconds(60);
  Batcher batcher(model_, options, slots_, metrics_);
  // Nobody would wait for a minute: the fourth makes the batch full.
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&, i] {
        const std::vector<float> input(kRow, static_cast<float>(i));
        std::vector<float> out(3);
        std::vector<float> expected(3);
        ASSERT_TRUE(batcher.run(input, out, {}).ok());
        ASSERT_TRUE(model_.classify_inputs(input, expected).ok());
        EXPECT_EQ(out, expected);
      });
    }
  }
  EXPECT_THAT(metrics_.prometheus(), HasSubstr(":nacre:serving:batch_size_count{} 1\n"));
  EXPECT_THAT(metrics_.prometheus(), HasSubstr(":nacre:serving:batch_size_sum{} 4\n"));
}

TEST_F(Batching, ALoneCallWaitsNoLongerThanItsBound) {
  BatchingOptions options;
  options.batch_timeout = std::chrono::milliseconds(20);
  Batcher batcher(model_, options, slots_, metrics_);
  const std::vector<float> input(kRow);
  std::vector<float> out(3);
  CallContext context;
  const ServeClock::time_point begun = ServeClock::now();
  EXPECT_TRUE(batcher.run(input, out, context).ok());
  EXPECT_LT(ServeClock::now() - begun, std::chrono::seconds(2)) << "20 ms, on however busy a machine";
}

TEST_F(Batching, ACallMayBeLargerThanABatch) {
  BatchingOptions options;
  options.max_batch_size = 4;
  Batcher batcher(model_, options, slots_, metrics_);
  std::vector<float> input(11 * kRow);
  for (size_t i = 0; i < input.size(); ++i) input[i] = static_cast<float>(i % 7);
  std::vector<float> out(33);
  std::vector<float> expected(33);
  ASSERT_TRUE(batcher.run(input, out, {}).ok());
  ASSERT_TRUE(model_.classify_inputs(input, expected).ok());
  EXPECT_EQ(out, expected);
}

TEST_F(Batching, RefusesWhatTheQueueHasNoRoomFor) {
  BatchingOptions options;
  options.max_batch_size = 2;
  options.max_enqueued_batches = 1;
  Batcher batcher(model_, options, slots_, metrics_);
  const std::vector<float> input(3 * kRow);
  std::vector<float> out(9);
  EXPECT_EQ(batcher.run(input, out, {}).code(), RpcCode::kResourceExhausted);
}

TEST_F(Batching, WhoGoesLeavesTheQueue) {
  BatchingOptions options;
  options.max_batch_size = 3;
  options.batch_timeout = std::chrono::seconds(60);
  Batcher batcher(model_, options, slots_, metrics_);
  const std::vector<float> input(kRow, 1.0F);
  std::vector<float> out(3);
  CallContext context;
  context.deadline = ServeClock::now() + std::chrono::milliseconds(20);
  EXPECT_EQ(batcher.run(input, out, context).code(), RpcCode::kDeadlineExceeded);
  std::stop_source client;
  context.deadline = ServeClock::time_point::max();
  context.cancelled = client.get_token();
  std::jthread leaver([&] {
    std::vector<float> unused(3);
    EXPECT_EQ(batcher.run(input, unused, context).code(), RpcCode::kCancelled);
  });
  client.request_stop();
  leaver.join();
  // Of the rows that are in the next batch none is theirs.
  const std::vector<float> three(3 * kRow, 1.0F);
  std::vector<float> nine(9);
  EXPECT_TRUE(batcher.run(three, nine, {}).ok());
  EXPECT_THAT(metrics_.prometheus(), HasSubstr(":nacre:serving:batch_size_sum{} 3\n"));
}

}  // namespace
}  // namespace nacre
