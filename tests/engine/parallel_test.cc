#include "engine/parallel.h"

#include <sched.h>

#include <atomic>
#include <filesystem>
#include <fstream>

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
