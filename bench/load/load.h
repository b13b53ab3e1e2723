#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/status.h"

namespace nacre::load {

using Clock = std::chrono::steady_clock;
/// Of an answer; nothing while it is not whole.
using Arrival = std::optional<Clock::time_point>;

/// One connection, for one request at a time and one thread. An error ends the request, not the connection.
class Connection {
 public:
  Connection() = default;
  virtual ~Connection() = default;
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  /// The socket to wait for; -1 when `start` does all.
  [[nodiscard]] virtual int socket() const = 0;
  /// Sends the i-th request.
  virtual Status start(size_t i) = 0;
  /// Takes in what the socket has, once. When the answer arrived, if it is whole and good; nothing before
  /// that.
  virtual Result<Arrival> receive() = 0;
};
/// Makes connections that do not share anything.
using Target = std::function<Result<std::unique_ptr<Connection>>()>;

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

/// One thread keeps all sockets busy, so that it takes little of CPUs that the server has a use for; at a
/// rate it wakes for what it has to send, not for answers, which have the time at which they arrived.
/// Connections without a socket have a thread each.
Result<Report> run(const Target& target, const Plan& plan);

}  // namespace nacre::load
