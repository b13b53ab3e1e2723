#include "serve/compute_slots.h"

#include <gtest/gtest.h>

#include <atomic>
#include <optional>
#include <thread>
#include <vector>

#include "tests/serve/serve_fixture.h"

namespace nacre {
namespace {

TEST(ComputeSlots, AreNeverMoreThanThereAre) {
  ComputeSlots slots(2, 100);
  std::atomic<int> inside{0};
  std::atomic<int> most{0};
  std::atomic<int> done{0};
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 8; ++i) {
      threads.emplace_back([&] {
        for (int k = 0; k < 50; ++k) {
          const auto lease = slots.acquire({});
          ASSERT_TRUE(lease.ok());
          const int now = ++inside;
          int seen = most;
          while (now > seen && !most.compare_exchange_weak(seen, now)) {
          }
          std::this_thread::yield();
          --inside;
          ++done;
        }
      });
    }
  }
  EXPECT_EQ(done, 400);
  EXPECT_LE(most, 2);
  EXPECT_EQ(slots.waiting(), 0U);
}

TEST(ComputeSlots, RefuseWhenTooManyWait) {
  ComputeSlots slots(1, 0);
  const auto first = slots.acquire({});
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(slots.acquire({}).status().code(), RpcCode::kResourceExhausted);
}

TEST(ComputeSlots, WaitUntilTheDeadline) {
  ComputeSlots slots(1, 10);
  auto first = std::make_optional(slots.acquire({}));
  CallContext context;
  context.deadline = ServeClock::now() + std::chrono::milliseconds(20);
  EXPECT_EQ(slots.acquire(context).status().code(), RpcCode::kDeadlineExceeded);
  EXPECT_EQ(slots.waiting(), 0U);
  first.reset();
  EXPECT_TRUE(slots.acquire({}).ok());
  EXPECT_EQ(slots.acquire(context).status().code(), RpcCode::kDeadlineExceeded) << "passed already";
}

TEST(ComputeSlots, WaitUntilTheClientGoes) {
  ComputeSlots slots(1, 10);
  const auto first = slots.acquire({});
  std::stop_source client;
  CallContext context;
  context.cancelled = client.get_token();
  RpcStatus status;
  std::jthread waiter([&] { status = slots.acquire(context).status(); });
  EXPECT_TRUE(eventually([&] { return slots.waiting() == 1; }));
  client.request_stop();
  waiter.join();
  EXPECT_EQ(status.code(), RpcCode::kCancelled);
}

TEST(ComputeSlots, ComeInTheOrderOfAsking) {
  ComputeSlots slots(1, 10);
  auto held = std::make_optional(slots.acquire({}));
  std::mutex mutex;
  std::vector<int> order;
  std::vector<std::jthread> threads;
  const auto note = [&](int number) {
    const std::lock_guard lock(mutex);
    order.push_back(number);
  };
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      const auto lease = slots.acquire({});
      note(i);
    });
    ASSERT_TRUE(eventually([&] { return slots.waiting() == static_cast<size_t>(i) + 1; }));
  }
  threads.emplace_back([&] {
    const auto lease = slots.acquire_first({});
    note(100);
  });
  ASSERT_TRUE(eventually([&] { return slots.waiting() == 5; }));
  held.reset();
  threads.clear();
  EXPECT_EQ(order, (std::vector<int>{100, 0, 1, 2, 3}));
}

}  // namespace
}  // namespace nacre
