#include "serve/cpu_seats.h"

#include <sched.h>
#include <sys/rseq.h>

#include <algorithm>

namespace nacre {
namespace {

/// The word in which Linux tells this thread, and who has its address, on which CPU it runs; null where it
/// does not (before Linux 4.18).
const uint32_t* told_cpu() {
  if (__rseq_size == 0) return nullptr;
  const char* const thread = static_cast<const char*>(__builtin_thread_pointer());
  return &reinterpret_cast<const struct rseq*>(thread + __rseq_offset)->cpu_id;
}

}  // namespace

CpuSeats& CpuSeats::of_process() {
  static CpuSeats seats;
  return seats;
}

CpuSeats::Seat::Seat(CpuSeats& seats)
    : seats_(seats), told_(told_cpu()), chosen_(static_cast<uint32_t>(std::max(sched_getcpu(), 0))) {
  bool shared = false;
  {
    const std::lock_guard lock(seats_.mutex_);
    for (const Seat* other = seats_.at_work_; other != nullptr; other = other->next_)
      shared = shared || other->cpu() == cpu();
    next_ = seats_.at_work_;
    if (next_ != nullptr) next_->before_ = &next_;
    before_ = &seats_.at_work_;
    seats_.at_work_ = this;
  }
  // Without the lock: to change the CPU takes a while, for which nobody else should wait.
  if (shared) leave_shared_cpu();
}

CpuSeats::Seat::~Seat() {
  const std::lock_guard lock(seats_.mutex_);
  *before_ = next_;
  if (next_ != nullptr) next_->before_ = before_;
}

uint32_t CpuSeats::Seat::cpu() const {
  return told_ == nullptr || on_its_way_ ? chosen_.load() : __atomic_load_n(told_, __ATOMIC_RELAXED);
}

void CpuSeats::Seat::leave_shared_cpu() {
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
  cpu_set_t there;
  CPU_ZERO(&there);
  {
    const std::lock_guard lock(seats_.mutex_);
    cpu_set_t free = allowed;
    for (const Seat* seat = seats_.at_work_; seat != nullptr; seat = seat->next_) CPU_CLR(seat->cpu(), &free);
    uint32_t cpu = 0;
    while (cpu < CPU_SETSIZE && !CPU_ISSET(cpu, &free)) ++cpu;
    if (cpu == CPU_SETSIZE) return;
    CPU_SET(cpu, &there);
    chosen_ = cpu;
    on_its_way_ = true;  // nobody else goes there
  }
  // It stays there for now, and Linux may move it as before.
  if (sched_setaffinity(0, sizeof there, &there) == 0) sched_setaffinity(0, sizeof allowed, &allowed);
  on_its_way_ = false;
}

}  // namespace nacre
