#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>

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

  /// The calling thread is at work, from here to the end of this, which is to be its own.
  class Seat {
   public:
    explicit Seat(CpuSeats& seats);
    ~Seat();
    Seat(const Seat&) = delete;
    Seat& operator=(const Seat&) = delete;

    /// Where the thread has run last, or is on its way to.
    [[nodiscard]] uint32_t cpu() const;

   private:
    void leave_shared_cpu();

    CpuSeats& seats_;
    const uint32_t* told_;  ///< where Linux writes the number of the thread's CPU; null where it does not
    /// That it began on, where Linux does not tell; and the one that it moves to while it does.
    std::atomic<uint32_t> chosen_;
    std::atomic<bool> on_its_way_ = false;
    // In the list of those at work; guarded by seats_.mutex_.
    Seat* next_ = nullptr;
    Seat** before_ = nullptr;  ///< what points to this
  };

 private:
  std::mutex mutex_;
  Seat* at_work_ = nullptr;  // guarded by mutex_
};

}  // namespace nacre
