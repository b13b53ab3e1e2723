#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/status.h"

namespace nacre::load {

using Clock = std::chrono::steady_clock;

/// One connection, for one thread: sends the i-th request and waits for its answer. An error is not the end
/// of it.
using Connection = std::function<Status(size_t i)>;
/// Makes connections that do not share anything.
using Target = std::function<Result<Connection>()>;

struct Plan {
  size_t connections = 8;
  double seconds = 10;
  double warm_up_seconds = 1;  ///< of requests that are not counted
  double rate = 0;      ///< requests a second, evenly; 0: each connection sends as soon as it has its answer
  size_t requests = 0;  ///< ends after so many; 0: by time alone
};

struct Report {
  size_t requests = 0;  ///< that had their answer
  size_t errors = 0;
  std::string first_error;
  double seconds = 0;
  double cpu_us = 0;                 ///< of this process for each request, those of the warm-up included
  std::vector<double> latencies_ms;  ///< sorted; from when a request was due (with a rate) or sent

  [[nodiscard]] double percentile(double share) const;
};

Result<Report> run(const Target& target, const Plan& plan);

}  // namespace nacre::load
