#include "serve/cpu_seats.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <algorithm>
#include <thread>
#include <vector>

namespace nacre {
namespace {

std::vector<size_t> allowed_cpus() {
  cpu_set_t set;
  EXPECT_EQ(sched_getaffinity(0, sizeof set, &set), 0);
  std::vector<size_t> cpus;
  for (size_t cpu = 0; cpu < CPU_SETSIZE; ++cpu)
    if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
  return cpus;
}

void allow(const std::vector<size_t>& cpus) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const size_t cpu : cpus) CPU_SET(cpu, &set);
  ASSERT_EQ(sched_setaffinity(0, sizeof set, &set), 0);
}

TEST(CpuSeats, ThreadsAtWorkGetCpusOfTheirOwn) {
  const std::vector<size_t> cpus = allowed_cpus();
  CpuSeats seats;
  std::vector<size_t> taken;
  for (size_t i = 0; i < cpus.size(); ++i) {
    std::jthread([&] {
      allow({cpus.front()});  // there it is now, though it may go elsewhere
      allow(cpus);
      taken.push_back(seats.enter());
      EXPECT_EQ(allowed_cpus(), cpus) << "as before";
    });
  }
  std::ranges::sort(taken);
  EXPECT_EQ(taken, cpus);
}

TEST(CpuSeats, AThreadThatMustMoveIsThereAtOnce) {
  const std::vector<size_t> cpus = allowed_cpus();
  if (cpus.size() == 1) return;  // there is nowhere to go
  CpuSeats seats;
  int arrived = 0;
  constexpr int kTimes = 50;
  for (int i = 0; i < kTimes; ++i) {
    allow({cpus.front()});
    const size_t first = seats.enter();
    EXPECT_EQ(first, cpus.front());
    std::jthread([&] {
      allow(cpus);
      const size_t second = seats.enter();
      arrived += static_cast<size_t>(sched_getcpu()) == second ? 1 : 0;  // Linux might have moved it since
      seats.leave(second);
    });
    seats.leave(first);
    allow(cpus);
  }
  EXPECT_GT(arrived, kTimes / 2);
}

TEST(CpuSeats, WhereThereIsOneCpuAllStay) {
  const std::vector<size_t> cpus = allowed_cpus();
  std::jthread([&] {
    allow({cpus.back()});
    CpuSeats seats;
    const size_t first = seats.enter();
    const size_t second = seats.enter();
    EXPECT_EQ(first, cpus.back());
    EXPECT_EQ(second, cpus.back());
    seats.leave(first);
    seats.leave(second);
    EXPECT_EQ(allowed_cpus(), std::vector<size_t>{cpus.back()});
  });
}

TEST(CpuSeats, ASeatThatIsLeftIsFree) {
  const std::vector<size_t> cpus = allowed_cpus();
  std::jthread([&] {
    CpuSeats seats;
    for (int i = 0; i < 3; ++i) {
      std::vector<size_t> taken;
      for (size_t k = 0; k < cpus.size(); ++k) taken.push_back(seats.enter());
      for (const size_t seat : taken) seats.leave(seat);
      std::ranges::sort(taken);
      EXPECT_EQ(taken, cpus);
    }
  });
}

}  // namespace
}  // namespace nacre
