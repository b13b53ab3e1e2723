#pragma once

#include <sched.h>
#include <sys/types.h>

namespace nacre {

/// Moves a thread (0: the calling one) to one of the CPUs `there`, where it stays for now; afterwards it may
/// run on all that are `allowed`. False, and nothing happens, where threads may not be moved.
inline bool move_thread(pid_t thread, const cpu_set_t& there, const cpu_set_t& allowed) {
  if (sched_setaffinity(thread, sizeof there, &there) != 0) return false;
  sched_setaffinity(thread, sizeof allowed, &allowed);
  return true;
}

}  // namespace nacre
