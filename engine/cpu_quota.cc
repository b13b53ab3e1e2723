#include "engine/cpu_quota.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <sstream>
#include <vector>

namespace nacre {
namespace {

using Quota = std::optional<int>;

Quota smaller(Quota a, Quota b) {
  if (!a || !b) return a ? a : b;
  return std::min(*a, *b);
}

Quota ratio(long long quota, long long period) {
  if (quota <= 0 || period <= 0) return std::nullopt;
  const long long cpus = std::max(1LL, quota / period);
  return static_cast<int>(std::min<long long>(cpus, std::numeric_limits<int>::max()));
}

/// Version 2: cpu.max holds "QUOTA PERIOD" in microseconds, or "max PERIOD".
Quota read_v2(const std::string& folder) {
  std::ifstream file(folder + "/cpu.max");
  long long quota = 0;
  long long period = 0;
  return file >> quota >> period ? ratio(quota, period) : std::nullopt;
}

/// Version 1: two files in microseconds; a quota of -1 means none.
Quota read_v1(const std::string& folder) {
  std::ifstream quota_file(folder + "/cpu.cfs_quota_us");
  std::ifstream period_file(folder + "/cpu.cfs_period_us");
  long long quota = 0;
  long long period = 0;
  return quota_file >> quota && period_file >> period ? ratio(quota, period) : std::nullopt;
}

/// The least quota of the groups from `path` up to the mount point. In a container the path may name a group
/// outside of what is mounted; the mount point itself is then this process's group.
Quota least_up_to_root(const std::string& mount, std::string path, Quota (*read)(const std::string&)) {
  Quota least = read(mount);
  while (path.size() > 1) {
    least = smaller(least, read(mount + path));
    path.resize(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
  }
  return least;
}

bool names_cpu(const std::string& controllers) {
  std::istringstream list(controllers);
  for (std::string name; std::getline(list, name, ',');) {
    if (name == "cpu") return true;
  }
  return false;
}

}  // namespace

std::optional<int> cpu_quota(const std::string& root) {
  const std::string mount = root + "/sys/fs/cgroup";
  Quota least;
  std::ifstream groups(root + "/proc/self/cgroup");
  // Lines are "ID:CONTROLLERS:PATH"; version 2 has no controllers.
  for (std::string line; std::getline(groups, line);) {
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::string path = line.substr(second + 1);
    if (controllers.empty()) {
      least = smaller(least, least_up_to_root(mount, path, read_v2));
      least = smaller(least, least_up_to_root(mount + "/unified", path, read_v2));
    } else if (names_cpu(controllers)) {
      least = smaller(least, least_up_to_root(mount + "/" + controllers, path, read_v1));
      least = smaller(least, least_up_to_root(mount + "/cpu", path, read_v1));
    }
  }
  return least;
}

}  // namespace nacre
