#pragma once

#include <optional>
#include <string>

namespace nacre {

/// The CPUs that the control group of this process may use, from the quotas (version 1 and 2) of the group
/// and of all groups above it, rounded down, at least 1; nothing when there is no quota. `root` goes before
/// every path, for tests: the files read are ROOT/proc/self/cgroup and ROOT/sys/fs/cgroup/... What cannot be
/// read or understood is no quota.
std::optional<int> cpu_quota(const std::string& root);

}  // namespace nacre
