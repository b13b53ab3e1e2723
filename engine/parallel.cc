#include "engine/parallel.h"

#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "engine/cpu_quota.h"

namespace nacre {
namespace {

/// CPUs that the scheduler may give this process; 1 when the system does not say.
int allowed_cpus() {
  // The kernel refuses a mask that is too small for its CPUs: double until it fits.
  for (int cpus = CPU_SETSIZE; cpus <= (1 << 20); cpus *= 2) {
    const std::unique_ptr<cpu_set_t, void (*)(cpu_set_t*)> set(CPU_ALLOC(static_cast<size_t>(cpus)),
                                                               [](cpu_set_t* mask) { CPU_FREE(mask); });
    if (set == nullptr) return 1;
    const size_t bytes = CPU_ALLOC_SIZE(static_cast<size_t>(cpus));
    CPU_ZERO_S(bytes, set.get());
    if (sched_getaffinity(0, bytes, set.get()) == 0) return std::max(1, CPU_COUNT_S(bytes, set.get()));
    if (errno != EINVAL) return 1;
  }
  return 1;
}

}  // namespace

int available_threads() {
  const int allowed = allowed_cpus();
  return std::min(allowed, cpu_quota("").value_or(allowed));
}

}  // namespace nacre
