#include "serve/cpu_seats.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/rseq.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <fstream>
#include <latch>
#include <sstream>
#include <string>
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

/// Of the calling thread, unless another is named.
void allow(const std::vector<size_t>& cpus, pid_t thread = 0) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const size_t cpu : cpus) CPU_SET(cpu, &set);
  ASSERT_EQ(sched_setaffinity(thread, sizeof set, &set), 0);
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

/// A thread that would run all the time, and has a place of that kind.
template <typename Place>
class Runnable {
 public:
  explicit Runnable(CpuSeats& seats)
      : thread_([this, &seats] {
          const Place place(seats, this);
          number_ = gettid();
          there_.count_down();
          while (!end_) {
          }
          kept_ = allowed_cpus() == cpus_;
        }) {
    there_.wait();
  }
  ~Runnable() { stop(); }
  Runnable(const Runnable&) = delete;
  Runnable& operator=(const Runnable&) = delete;

  [[nodiscard]] const void* group() const { return this; }
  [[nodiscard]] pid_t number() const { return number_; }
  /// The CPU that Linux has it run, or wait for, on.
  [[nodiscard]] size_t cpu() const {
    std::ifstream file("/proc/self/task/" + std::to_string(number_) + "/stat");
    std::string text;
    std::getline(file, text);
    std::istringstream fields(text.substr(text.rfind(')') + 1));
    constexpr int kField = 37;  // of those behind the name
    for (int i = 0; i < kField; ++i) fields >> text;
    return std::stoul(text);
  }
  /// Whether it may run in the end where it might in the beginning.
  bool stop() {
    end_ = true;
    if (thread_.joinable()) thread_.join();
    return kept_;
  }

 private:
  const std::vector<size_t> cpus_ = allowed_cpus();
  pid_t number_ = 0;
  std::atomic<bool> end_ = false;
  bool kept_ = false;
  std::latch there_{1};
  std::jthread thread_;
};

/// How often of many times a thread is on the same CPU as this one, which has begun to work where that waits
/// for its CPU. Linux leaves it there for some milliseconds.
template <typename Place>
int times_together(std::chrono::microseconds at_it_before) {
  const std::vector<size_t> cpus = allowed_cpus();
  CpuSeats seats;
  Runnable<Place> other(seats);
  int together = 0;
  for (int i = 0; i < 50; ++i) {
    allow({cpus.back()}, other.number());
    allow(cpus, other.number());
    std::this_thread::sleep_for(at_it_before);
    allow({cpus.front()});
    allow({cpus.front()}, other.number());
    allow(cpus, other.number());
    const CpuSeats::Seat seat(seats, other.group());
    together += other.cpu() == static_cast<size_t>(sched_getcpu()) ? 1 : 0;
    allow(cpus);
  }
  EXPECT_TRUE(other.stop());
  return together;
}

TEST(CpuSeats, OneThatIsWokenBehindAnotherIsMoved) {
  const int together = times_together<CpuSeats::Wait>(std::chrono::microseconds(0));
  EXPECT_TRUE(allowed_cpus().size() == 1 || together < 20) << together;
}

TEST(CpuSeats, OneThatIsAtWorkForLongIsMoved) {
  const int together = times_together<CpuSeats::Seat>(std::chrono::milliseconds(1));
  EXPECT_TRUE(allowed_cpus().size() == 1 || together < 20) << together;
}

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
