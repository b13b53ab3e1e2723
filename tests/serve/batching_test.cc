#include "serve/batching.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <atomic>
#include <optional>
#include <span>
#include <thread>

#include "layers/registry.h"
#include "serve/input_stack.h"
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
  {
    std::vector<std::jthread> threads;
    auto held = std::make_optional(slots_->acquire({}));  // nothing can compute
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
    ASSERT_TRUE(eventually([&] { return batcher.waiting() == 4; }));
    held.reset();
  }
  EXPECT_THAT(metrics_.prometheus(), HasSubstr(":nacre:serving:batch_size_count{} 1\n"));
  EXPECT_THAT(metrics_.prometheus(), HasSubstr(":nacre:serving:batch_size_sum{} 4\n"));
}

TEST_F(Batching, ALoneCallWaitsForNobody) {
  BatchingOptions options;
  options.batch_timeout = std::chrono::seconds(60);
  Batcher batcher(model_, options, slots_, metrics_);
  const std::vector<float> input(kRow);
  std::vector<float> out(3);
  const ServeClock::time_point begun = ServeClock::now();
  EXPECT_TRUE(batcher.run(input, out, {}).ok());
  EXPECT_LT(ServeClock::now() - begun, std::chrono::seconds(20));
}

/// A call, and those that its thread answers while it waits.
class Nested {
 public:
  Nested(Batcher& batcher, const Model& model, int calls, size_t rows = 1)
      : batcher_(batcher), model_(model), left_(calls), rows_(rows) {}

  /// False when no more are left.
  bool next() {
    if (left_ == 0) return false;
    const StackedInputs stacked(rows_ * kRow);
    const std::span<float> input = stacked.floats();
    std::ranges::generate(input, [&, i = 0]() mutable { return static_cast<float>(left_ * (i++ % 7)); });
    --left_;
    std::vector<float> out(rows_ * 3);
    std::vector<float> expected(rows_ * 3);
    CallContext context;
    context.other_calls = [this](bool alike) { return alike && next(); };
    context.deadline = ServeClock::now() + std::chrono::seconds(20);
    EXPECT_TRUE(batcher_.run(input, out, context).ok());
    EXPECT_TRUE(model_.classify_inputs(input, expected).ok());
    EXPECT_EQ(out, expected);
    return true;
  }

 private:
  Batcher& batcher_;
  const Model& model_;
  int left_;
  const size_t rows_;  ///< of a call
};

TEST_F(Batching, AThreadBringsInWhatWaitsAndComputesAllOfIt) {
  BatchingOptions options;
  options.max_batch_size = 4;
  options.batch_timeout = std::chrono::seconds(60);
  Batcher batcher(model_, options, slots_, metrics_);
  EXPECT_TRUE(Nested(batcher, model_, 3).next());
  EXPECT_THAT(metrics_.prometheus(), HasSubstr(":nacre:serving:batch_size_count{} 1\n"));
  EXPECT_THAT(metrics_.prometheus(), HasSubstr(":nacre:serving:batch_size_sum{} 3\n"));
  // A batch that is full goes: the fourth call asks for no fifth.
  Nested many(batcher, model_, 6);
  EXPECT_TRUE(many.next());
  EXPECT_TRUE(many.next());
  EXPECT_FALSE(many.next());
  EXPECT_THAT(metrics_.prometheus(), HasSubstr(":nacre:serving:batch_size_count{} 3\n"));
  EXPECT_THAT(metrics_.prometheus(), HasSubstr(":nacre:serving:batch_size_sum{} 9\n"));
}

TEST_F(Batching, CallsOfManyRowsAreCutWhereABatchIsFull) {
  BatchingOptions options;
  options.max_batch_size = 4;
  options.batch_timeout = std::chrono::seconds(60);
  Batcher batcher(model_, options, slots_, metrics_);
  EXPECT_TRUE(Nested(batcher, model_, 2, 3).next());  // 3 and 1, 2
  EXPECT_TRUE(Nested(batcher, model_, 1, 6).next());  // 4, 2
  EXPECT_THAT(metrics_.prometheus(), HasSubstr(":nacre:serving:batch_size_count{} 4\n"));
  EXPECT_THAT(metrics_.prometheus(), HasSubstr(":nacre:serving:batch_size_sum{} 12\n"));
}

TEST_F(Batching, NobodyIsBroughtInBeyondTheTimeout) {
  BatchingOptions options;
  options.batch_timeout = std::chrono::microseconds(0);
  Batcher batcher(model_, options, slots_, metrics_);
  Nested calls(batcher, model_, 2);
  EXPECT_TRUE(calls.next());
  EXPECT_THAT(metrics_.prometheus(), HasSubstr(":nacre:serving:batch_size_sum{} 1\n"));
}

TEST_F(Batching, ACallThatWaitsUpOnAnotherIsNotForgotten) {
  BatchingOptions options;
  options.max_batch_size = 50'000;
  Batcher batcher(model_, options, slots_, metrics_);
  const ServeClock::time_point start = ServeClock::now();
  const std::vector<float> many(40'000 * kRow, 0.5F);
  for (int i = 0; i < 3; ++i) {
    std::atomic<bool> begun{false};
    // While it computes, a thread has two calls in the queue, of which it waits for the second.
    std::jthread busy([&] {
      std::vector<float> out(40'000 * 3);
      begun = true;
      EXPECT_TRUE(batcher.run(many, out, {}).ok());
    });
    while (!begun) std::this_thread::yield();
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    EXPECT_TRUE(Nested(batcher, model_, 2).next());
  }
  EXPECT_LT(ServeClock::now() - start, std::chrono::seconds(15)) << "it was woken by its deadline";
}

TEST_F(Batching, ManyThreadsWithCallsWithinCallsGetTheirAnswers) {
  slots_ = std::make_shared<ComputeSlots>(2, 100);
  BatchingOptions options;
  options.max_batch_size = 5;
  Batcher batcher(model_, options, slots_, metrics_);
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 6; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < 40; ++i) {
          Nested calls(batcher, model_, 1 + (i + t) % 7);
          while (calls.next()) {
          }
        }
      });
    }
  }
  EXPECT_EQ(batcher.waiting(), 0U);
  EXPECT_EQ(slots_->free(), 2U);
}

TEST_F(Batching, RowsAreLeftToAThreadThatIsAboutToComputeThem) {
  slots_ = std::make_shared<ComputeSlots>(2, 10);
  BatchingOptions options;
  options.batch_timeout = std::chrono::seconds(60);
  Batcher batcher(model_, options, slots_, metrics_);
  const std::vector<float> input(kRow, 1.0F);
  CallContext context;
  context.other_calls = [&](bool /*alike*/) {  // while its row waits for company
    std::jthread([&] {
      std::vector<float> out(3);
      EXPECT_TRUE(batcher.run(input, out, {}).ok());
    }).join();
    EXPECT_EQ(batcher.waiting(), 1U);
    return false;
  };
  std::vector<float> out(3);
  EXPECT_TRUE(batcher.run(input, out, context).ok());
  EXPECT_THAT(metrics_.prometheus(), HasSubstr(":nacre:serving:batch_size_count{} 2\n"));
  EXPECT_THAT(metrics_.prometheus(), HasSubstr(":nacre:serving:batch_size_sum{} 2\n"));
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
  EXPECT_TRUE(batcher.run(input, out, {}).ok()) << "what is more than the queue waits in an empty one";
  auto held = std::make_optional(slots_->acquire({}));  // nothing can compute
  std::jthread first([&] {
    std::vector<float> other(3);
    EXPECT_TRUE(batcher.run(std::span(input).first(kRow), other, {}).ok());
  });
  while (batcher.waiting() == 0) std::this_thread::yield();
  EXPECT_EQ(batcher.run(input, out, {}).code(), RpcCode::kResourceExhausted);
  held.reset();
}

TEST_F(Batching, WhoGoesLeavesTheQueue) {
  BatchingOptions options;
  options.max_batch_size = 3;
  options.batch_timeout = std::chrono::seconds(60);
  Batcher batcher(model_, options, slots_, metrics_);
  const std::vector<float> input(kRow, 1.0F);
  std::vector<float> out(3);
  auto held = std::make_optional(slots_->acquire({}));  // nothing can compute
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
  EXPECT_EQ(batcher.waiting(), 0U);
  held.reset();
  // Of the rows that are in the next batch none is theirs.
  const std::vector<float> three(3 * kRow, 1.0F);
  std::vector<float> nine(9);
  EXPECT_TRUE(batcher.run(three, nine, {}).ok());
  EXPECT_THAT(metrics_.prometheus(), HasSubstr(":nacre:serving:batch_size_sum{} 3\n"));
}

}  // namespace
}  // namespace nacre
