#pragma once

#include <array>
#include <atomic>
#include <cstddef>

namespace nacre {

/// Keeps threads that answer on CPUs of their own. Linux may wake a thread on a CPU where another one is at
/// work while a CPU is idle, and lets one of them wait there until its next tick, some 4 ms later: with
/// pauses as short as those between requests an idle CPU looks for no more to do. So a thread that begins to
/// answer where another does moves to a CPU where none does; afterwards it may run where it might before.
/// Where threads may not be moved nothing happens. Thread-safe.
class CpuSeats {
 public:
  /// Those of the process: all its transports share its CPUs.
  static CpuSeats& of_process();

  /// The calling thread is at work from now on; the result is for leave.
  size_t enter();
  /// The thread that had this from `enter` has done its work; may be said by another thread.
  void leave(size_t seat) { --at_work_[seat]; }

 private:
  /// As many CPUs as sched_setaffinity's simple form knows; those beyond count as one.
  static constexpr size_t kMaxCpus = 1024;
  /// A thread's CPU when it began: one that Linux has moved since counts where it was.
  std::array<std::atomic<int>, kMaxCpus> at_work_{};
};

}  // namespace nacre
