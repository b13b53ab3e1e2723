#include "serve/cpu_seats.h"

#include <sched.h>

#include <algorithm>

namespace nacre {
namespace {

cpu_set_t only(size_t cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  return set;
}

}  // namespace

CpuSeats& CpuSeats::of_process() {
  static CpuSeats seats;
  return seats;
}

size_t CpuSeats::enter() {
  static_assert(kMaxCpus == CPU_SETSIZE);
  const size_t here = std::min(static_cast<size_t>(std::max(sched_getcpu(), 0)), kMaxCpus - 1);
  if (at_work_[here]++ == 0) return here;
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return here;
  for (size_t cpu = 0; cpu < kMaxCpus; ++cpu) {
    int none = 0;
    if (!CPU_ISSET(cpu, &allowed) || !at_work_[cpu].compare_exchange_strong(none, 1)) continue;
    const cpu_set_t there = only(cpu);
    if (sched_setaffinity(0, sizeof there, &there) != 0) {
      --at_work_[cpu];
      break;
    }
    // It stays there for now, and Linux may move it as before.
    sched_setaffinity(0, sizeof allowed, &allowed);
    --at_work_[here];
    return cpu;
  }
  return here;
}

}  // namespace nacre
