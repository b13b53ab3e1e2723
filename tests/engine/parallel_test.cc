#include "engine/parallel.h"

#include <sched.h>

#include <array>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <latch>
#include <stdexcept>
#include <thread>
#include <vector>

#include "engine/cpu_quota.h"

namespace nacre {
namespace {

namespace fs = std::filesystem;

TEST(Parallel, EveryChunkRunsOnceOnAWorkerInRange) {
  for (const int threads : {1, 2, 3, 8}) {
    for (const int64_t chunks : {0, 1, 2, 5, 100}) {
      std::vector<std::atomic<int>> runs(static_cast<size_t>(chunks));
      std::atomic<bool> in_range = true;
      parallel_for(chunks, threads, [&](int64_t chunk, int worker) {
        ++runs[static_cast<size_t>(chunk)];
        if (worker < 0 || worker >= threads) in_range = false;
      });
      EXPECT_TRUE(in_range);
      for (const auto& count : runs) EXPECT_EQ(count, 1);
    }
  }
}

TEST(Parallel, ATeamRunsManyLoopsOfAnySize) {
  for (const int threads : {2, 3, 8}) {
    std::vector<int64_t> sums(100);
    bool in_range = true;
    with_team(threads, [&] {
      for (int64_t loop = 0; loop < 400; ++loop) {
        // Some loops ask for fewer threads than the team has, some for more.
        const int asked = static_cast<int>(loop % (threads + 2));
        const auto size = static_cast<int64_t>(sums.size());
        parallel_for(loop % size, asked, [&](int64_t chunk, int worker) {
          sums[static_cast<size_t>(chunk)] += loop;
          if (worker < 0 || worker >= std::max(1, std::min(asked, threads))) in_range = false;
        });
        // Now and then long enough for the others to fall asleep.
        if (loop % 100 == 99) std::this_thread::sleep_for(std::chrono::milliseconds(2));
      }
    });
    EXPECT_TRUE(in_range);
    for (int64_t chunk = 0; chunk < 100; ++chunk) {
      int64_t expected = 0;
      for (int64_t loop = 0; loop < 400; ++loop) expected += chunk < loop % 100 ? loop : 0;
      EXPECT_EQ(sums[static_cast<size_t>(chunk)], expected) << chunk;
    }
  }
}

TEST(Parallel, LoopsAndTeamsWithinALoopAreThePlainOnes) {
  std::array<std::atomic<int>, 8> runs = {};
  std::atomic<bool> alone = true;
  with_team(3, [&] {
    with_team(2, [&] {
      parallel_for(4, 3, [&](int64_t outer, int /*worker*/) {
        with_team(2, [&] {
          parallel_for(2, 2, [&](int64_t inner, int worker) {
            ++runs[static_cast<size_t>(2 * outer + inner)];
            if (worker != 0) alone = false;
          });
        });
      });
    });
  });
  EXPECT_TRUE(alone);
  for (const auto& count : runs) EXPECT_EQ(count, 1);
}

TEST(Parallel, AnExceptionLeavesATeam) {
  const auto work = [] {
    parallel_for(4, 2, [](int64_t /*chunk*/, int /*worker*/) {});
    throw std::runtime_error("told");
  };
  EXPECT_THROW(with_team(2, work), std::runtime_error);
  // And the next team works.
  std::atomic<int> runs = 0;
  parallel_for(4, 2, [&](int64_t /*chunk*/, int /*worker*/) { ++runs; });
  EXPECT_EQ(runs, 4);
}

TEST(Parallel, AThreadHelpsWithTheSharesOfOthers) {
  // The first chunk waits until the last of its own share was done, which the other thread must then have
  // taken.
  constexpr int64_t kChunks = 8;
  std::atomic<int> done = 0;
  bool helped = true;
  parallel_for(kChunks, 2, [&](int64_t chunk, int /*worker*/) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (chunk == 0 && done < kChunks - 1) {
      if (std::chrono::steady_clock::now() > end) helped = false;
      if (!helped) break;
      std::this_thread::yield();
    }
    ++done;
  });
  EXPECT_TRUE(helped);
}

void allow(const cpu_set_t& cpus) {
  ASSERT_EQ(sched_setaffinity(0, sizeof cpus, &cpus), 0);
}

TEST(Parallel, AThreadLeavesTheCpuOfTheFirst) {
  cpu_set_t cpus;
  ASSERT_EQ(sched_getaffinity(0, sizeof cpus, &cpus), 0);
  constexpr int kTimes = 20;
  int apart = 0;
  with_team(2, [&] {
    for (int i = 0; i < kTimes; ++i) {
      // A chunk each, or one would wait for ever.
      std::latch both{2};
      std::atomic<int> first_cpu = -1;
      parallel_for(2, 2, [&](int64_t /*chunk*/, int worker) {
        if (worker == 0) first_cpu = sched_getcpu();
        both.arrive_and_wait();
        if (worker == 0) return;
        cpu_set_t there;
        CPU_ZERO(&there);
        CPU_SET(static_cast<size_t>(first_cpu.load()), &there);
        allow(there);  // there it is now, and Linux has no reason to move it
        allow(cpus);
      });
      std::latch again{2};
      std::atomic<int> second_cpu = -1;
      parallel_for(2, 2, [&](int64_t /*chunk*/, int worker) {
        (worker == 0 ? first_cpu : second_cpu) = sched_getcpu();
        if (worker == 1) {
          cpu_set_t now;
          ASSERT_EQ(sched_getaffinity(0, sizeof now, &now), 0);
          EXPECT_NE(CPU_EQUAL(&now, &cpus), 0) << "it may run where it might before";
        }
        again.arrive_and_wait();
      });
      apart += first_cpu != second_cpu ? 1 : 0;
    }
  });
  if (CPU_COUNT(&cpus) > 1) {
    EXPECT_GT(apart, kTimes / 2);
  } else {
    EXPECT_EQ(apart, 0);
  }
}

TEST(Parallel, AvailableThreadsFollowTheAffinity) {
  cpu_set_t before;
  ASSERT_EQ(sched_getaffinity(0, sizeof(before), &before), 0);
  EXPECT_GE(available_threads(), 1);
  EXPECT_LE(available_threads(), CPU_COUNT(&before));

  cpu_set_t one;
  CPU_ZERO(&one);
  for (size_t cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; ++cpu) {
    if (CPU_ISSET(cpu, &before)) CPU_SET(cpu, &one);
  }
  ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
  const int alone = available_threads();
  ASSERT_EQ(sched_setaffinity(0, sizeof(before), &before), 0);
  EXPECT_EQ(alone, 1);
}

class CpuQuota : public ::testing::Test {
 protected:
  void SetUp() override { fs::remove_all(root_); }
  void TearDown() override { fs::remove_all(root_); }

  void write(const std::string& path, const std::string& text) {
    const fs::path file(root_ + path);
    fs::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  std::optional<int> quota() { return cpu_quota(root_); }

  std::string root_ = ::testing::TempDir() + "nacre_cpu_quota_" +
                      ::testing::UnitTest::GetInstance()->current_test_info()->name();
};

TEST_F(CpuQuota, NoneWithoutControlGroups) {
  EXPECT_EQ(quota(), std::nullopt);
}

TEST_F(CpuQuota, Version2TakesTheLeastOfAllLevels) {
  write("/proc/self/cgroup", "0::/box/inner\n");
  write("/sys/fs/cgroup/box/inner/cpu.max", "max 100000\n");
  EXPECT_EQ(quota(), std::nullopt);
  write("/sys/fs/cgroup/box/cpu.max", "300000 100000\n");
  EXPECT_EQ(quota(), 3);
  write("/sys/fs/cgroup/box/inner/cpu.max", "250000 100000\n");
  EXPECT_EQ(quota(), 2);
  write("/sys/fs/cgroup/box/inner/cpu.max", "50000 100000\n");
  EXPECT_EQ(quota(), 1);
}

TEST_F(CpuQuota, Version2InAContainerThatSeesOnlyItsOwnGroup) {
  write("/proc/self/cgroup", "0::/../outside\n");
  write("/sys/fs/cgroup/cpu.max", "400000 100000\n");
  EXPECT_EQ(quota(), 4);
}

TEST_F(CpuQuota, Version1) {
  write("/proc/self/cgroup", "7:memory:/m\n4:cpu,cpuacct:/jobs\n");
  write("/sys/fs/cgroup/cpu,cpuacct/jobs/cpu.cfs_period_us", "100000\n");
  write("/sys/fs/cgroup/cpu,cpuacct/jobs/cpu.cfs_quota_us", "-1\n");
  EXPECT_EQ(quota(), std::nullopt);
  write("/sys/fs/cgroup/cpu,cpuacct/jobs/cpu.cfs_quota_us", "600000\n");
  EXPECT_EQ(quota(), 6);
}

TEST_F(CpuQuota, NonsenseIsNoQuota) {
  write("/proc/self/cgroup", "x\n::\n0::\n0::relative\n0::/a\n");
  for (const char* text : {"", "max", "100000", "-5 100000", "100000 0", "a b", "99999999999999999999 1"}) {
    write("/sys/fs/cgroup/a/cpu.max", text);
    EXPECT_EQ(quota(), std::nullopt) << text;
  }
}

}  // namespace
}  // namespace nacre
