#include "serve/cpu_seats.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/rseq.h>

#include <algorithm>
#include <latch>
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

/// A thread at work that stays on one CPU.
class Settled {
 public:
  Settled(CpuSeats& seats, size_t cpu)
      : thread_([this, &seats, cpu] {
          allow({cpu});
          const CpuSeats::Seat seat(seats);
          seen_ = seat.cpu();
          there_.count_down();
          end_.wait();
        }) {
    there_.wait();
  }
  ~Settled() { end_.count_down(); }
  Settled(const Settled&) = delete;
  Settled& operator=(const Settled&) = delete;
  [[nodiscard]] size_t seen() const { return seen_; }

 private:
  size_t seen_ = 0;
  std::latch there_{1};
  std::latch end_{1};
  std::jthread thread_;
};

TEST(CpuSeats, AThreadLeavesTheCpuOfAnotherOne) {
  const std::vector<size_t> cpus = allowed_cpus();
  CpuSeats seats;
  const Settled first(seats, cpus.front());
  EXPECT_EQ(first.seen(), cpus.front());
  int elsewhere = 0;
  constexpr int kTimes = 50;
  for (int i = 0; i < kTimes; ++i) {
    allow({cpus.front()});  // there it is now, and Linux has no reason to move it
    allow(cpus);
    const CpuSeats::Seat second(seats);
    elsewhere += second.cpu() == cpus.front() ? 0 : 1;
    EXPECT_EQ(allowed_cpus(), cpus) << "as before";
  }
  if (cpus.size() > 1) {
    EXPECT_GT(elsewhere, kTimes / 2) << "where it is left alone afterwards";
  } else {
    EXPECT_EQ(elsewhere, 0);
  }
}

TEST(CpuSeats, WithoutACpuThatIsFreeAThreadStays) {
  const std::vector<size_t> cpus = allowed_cpus();
  CpuSeats seats;
  const Settled first(seats, cpus.back());
  std::jthread([&] {
    allow({cpus.back()});
    const CpuSeats::Seat second(seats);
    EXPECT_EQ(second.cpu(), cpus.back());
    EXPECT_EQ(allowed_cpus(), std::vector<size_t>{cpus.back()});
  });
}

TEST(CpuSeats, ThoseThatAreGoneAreInNobodysWay) {
  const std::vector<size_t> cpus = allowed_cpus();
  CpuSeats seats;
  {
    const Settled first(seats, cpus.front());
    const Settled second(seats, cpus.back());
    const Settled third(seats, cpus.front());
  }
  int stayed = 0;
  constexpr int kTimes = 50;
  for (int i = 0; i < kTimes; ++i) {
    allow({cpus.front()});
    allow(cpus);
    const CpuSeats::Seat seat(seats);
    stayed += seat.cpu() == cpus.front() ? 1 : 0;
  }
  EXPECT_GT(stayed, kTimes / 2);
}

TEST(CpuSeats, AThreadIsSeenWhereLinuxHasPutIt) {
  if (__rseq_size == 0) return;  // Linux does not tell
  const std::vector<size_t> cpus = allowed_cpus();
  CpuSeats seats;
  const CpuSeats::Seat seat(seats);
  for (const size_t cpu : cpus) {
    allow({cpu});
    EXPECT_EQ(seat.cpu(), cpu);
  }
  allow(cpus);
}

}  // namespace
}  // namespace nacre
