#pragma once

#include <sched.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace nacre {

/// Keeps threads that answer on CPUs of their own. Linux may wake a thread, or move it, where another one is
/// at work while a CPU is idle, and lets one of them wait there until its next tick, some 4 ms later: with
/// pauses as short as those between requests an idle CPU looks for no more to do. So a thread that begins to
/// answer where another does moves to a CPU where none does. One that does not get that far, because it waits
/// for its CPU, is moved by those that begin to answer meanwhile: if it is the next to be woken, or has been
/// at work for long. Afterwards all may run where they might before. Where threads may not be moved nothing
/// happens. Thread-safe.
class CpuSeats {
 public:
  /// Those of the process: all its transports share its CPUs.
  static CpuSeats& of_process();

  /// A thread's, for the time that it is here.
  class Place {
   public:
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;

    /// Where the thread has run last, or is on its way to.
    [[nodiscard]] uint32_t cpu() const;

   protected:
    /// Of the calling thread.
    Place(CpuSeats& seats, const void* group, bool at_work);
    ~Place();

    friend class CpuSeats;
    CpuSeats& seats_;
    const void* const group_;
    const bool at_work_;
    const pid_t thread_;
    const uint32_t* const
        told_;  ///< where Linux writes the number of the thread's CPU; null where it does not
    /// That it began on, where Linux does not tell; and the one that it moves to while it does.
    std::atomic<uint32_t> chosen_;
    std::atomic<bool> on_its_way_ = false;
    // Guarded by seats_.mutex_.
    std::chrono::steady_clock::time_point since_;  ///< it is here, or was moved last
    bool is_moved_ = false;                        ///< right now, by another thread
    Place* next_ = nullptr;
    Place** before_ = nullptr;  ///< what points to this
  };

  /// The calling thread waits for work, from here to the end of this. Of each group the one that has waited
  /// for the shortest time is woken.
  class Wait : public Place {
   public:
    Wait(CpuSeats& seats, const void* group) : Place(seats, group, false) {}
  };

  /// The calling thread is at work, from here to the end of this, on what those of its group that wait might
  /// have been woken for.
  class Seat : public Place {
   public:
    explicit Seat(CpuSeats& seats, const void* group = nullptr);

   private:
    [[nodiscard]] bool is_shared() const;
    void leave_shared_cpu();
  };

 private:
  using Lock = std::unique_lock<std::mutex>;

  [[nodiscard]] cpu_set_t free_for(const Place& place, const cpu_set_t& allowed) const;
  void help(const Place& beginner);
  void move(Place& place, Lock& lock);

  std::mutex mutex_;  // guards what follows
  std::condition_variable moved_;
  Place* places_ = nullptr;  ///< the latest first
};

}  // namespace nacre
