#include "engine/memory_plan.h"

#include <chrono>

#include "engine/random.h"
#include "engine/tensor.h"

namespace nacre {
namespace {

std::vector<Lifetime> random_lifetimes(size_t count, int time, uint64_t seed) {
  const RandomStream random(seed, hash_name(std::string_view("memory plan test")));
  std::vector<Lifetime> result;
  for (uint64_t i = 0; i < count; ++i) {
    const auto begin = static_cast<int>(random.bits(3 * i) % static_cast<uint32_t>(time));
    const auto length = static_cast<int>(random.bits(3 * i + 1) % static_cast<uint32_t>(time - begin));
    // Sizes of all magnitudes, zero too.
    const uint32_t bits = random.bits(3 * i + 2);
    result.push_back({bits % 7 == 0 ? 0 : (bits >> 8) % (size_t{64} << (bits % 13)), begin, begin + length});
  }
  return result;
}

/// Checks all that a plan promises; `time` bounds the ends.
void check(const std::vector<Lifetime>& lifetimes, const MemoryPlan& plan, int time) {
  ASSERT_EQ(plan.offsets.size(), lifetimes.size());
  size_t sum = 0;
  std::vector<size_t> demand(static_cast<size_t>(time) + 1, 0);
  for (size_t i = 0; i < lifetimes.size(); ++i) {
    const Lifetime& a = lifetimes[i];
    sum += align_up(a.bytes);
    for (int t = a.begin; t <= a.end; ++t) demand[static_cast<size_t>(t)] += a.bytes;
    ASSERT_EQ(plan.offsets[i] % kAlignment, 0U);
    ASSERT_LE(plan.offsets[i] + a.bytes, plan.total_bytes);
    for (size_t j = 0; j < i; ++j) {
      const Lifetime& b = lifetimes[j];
      if (a.bytes == 0 || b.bytes == 0 || a.end < b.begin || b.end < a.begin) continue;
      ASSERT_TRUE(plan.offsets[i] + a.bytes <= plan.offsets[j] ||
                  plan.offsets[j] + b.bytes <= plan.offsets[i])
          << "buffers " << j << " and " << i << " overlap";
    }
  }
  EXPECT_LE(plan.total_bytes, sum);
  EXPECT_GE(plan.total_bytes, *std::max_element(demand.begin(), demand.end()));
}

TEST(MemoryPlan, NothingNeedsNothing) {
  EXPECT_EQ(plan_memory({}).total_bytes, 0U);
  EXPECT_EQ(plan_memory({{0, 0, 5}, {0, 1, 2}}).total_bytes, 0U);
}

TEST(MemoryPlan, WhatIsDeadIsReused) {
  EXPECT_EQ(plan_memory({{100, 0, 1}, {100, 2, 3}}).total_bytes, 128U);
  // The last moment of one and the first of the next are the same: both are alive.
  EXPECT_EQ(plan_memory({{100, 0, 2}, {100, 2, 3}}).total_bytes, 256U);
  // A chain of values, each read by the next only, needs two buffers.
  std::vector<Lifetime> chain;
  for (int i = 0; i < 10; ++i) chain.push_back({64, i, i + 1});
  EXPECT_EQ(plan_memory(chain).total_bytes, 128U);
}

TEST(MemoryPlan, AGapThatFitsIsFilled) {
  const std::vector<Lifetime> lifetimes{{64, 0, 9}, {128, 0, 3}, {64, 0, 9}, {128, 4, 9}};
  const MemoryPlan plan = plan_memory(lifetimes);
  EXPECT_EQ(plan.total_bytes, 256U);
  EXPECT_EQ(plan.offsets[3], plan.offsets[1]);
}

TEST(MemoryPlan, BuffersMayBeGivenInAnyOrder) {
  const std::vector<Lifetime> lifetimes{{64, 7, 9}, {64, 0, 3}, {64, 2, 8}};
  const MemoryPlan plan = plan_memory(lifetimes);
  check(lifetimes, plan, 9);
  EXPECT_EQ(plan.total_bytes, 128U);
}

TEST(MemoryPlan, RandomLifetimesNeverOverlap) {
  for (uint64_t seed = 0; seed < 60; ++seed) {
    const int time = seed % 2 == 0 ? 10 : 200;
    const auto lifetimes = random_lifetimes(20 + 5 * seed, time, seed);
    check(lifetimes, plan_memory(lifetimes), time);
  }
}

TEST(MemoryPlan, ManyBuffersAreFast) {
  // As in training: all values live until their backward.
  constexpr int kCount = 20000;
  std::vector<Lifetime> lifetimes;
  for (int i = 0; i < kCount; ++i) lifetimes.push_back({1000, i, 2 * kCount - i});
  const auto start = std::chrono::steady_clock::now();
  const MemoryPlan plan = plan_memory(lifetimes);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  EXPECT_EQ(plan.total_bytes, size_t{1024} * kCount);
  // Generous, for a busy machine and sanitizers; a plan of cubic cost would take hours.
  EXPECT_LT(seconds.count(), 20.0);
}

}  // namespace
}  // namespace nacre
