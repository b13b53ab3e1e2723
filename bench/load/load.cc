#include "bench/load/load.h"

#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <mutex>
#include <thread>

namespace nacre::load {
namespace {

Clock::duration seconds(double value) {
  return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(value));
}

double cpu_seconds() {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  return static_cast<double>(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
         1e-6 * static_cast<double>(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
}

}  // namespace

double Report::percentile(double share) const {
  if (latencies_ms.empty()) return 0;
  const auto rank = static_cast<size_t>(std::ceil(share * static_cast<double>(latencies_ms.size())));
  return latencies_ms[std::min(std::max<size_t>(rank, 1), latencies_ms.size()) - 1];
}

Result<Report> run(const Target& target, const Plan& plan) {
  std::vector<Connection> connections;
  for (size_t i = 0; i < plan.connections; ++i) {
    NACRE_ASSIGN_OR_RETURN(Connection connection, target());
    connections.push_back(std::move(connection));
  }
  Report report;
  std::mutex mutex;
  std::atomic<size_t> next{0};
  const double cpu_before = cpu_seconds();
  const Clock::time_point begin = Clock::now();
  const Clock::time_point counted = begin + seconds(plan.warm_up_seconds);
  const Clock::time_point end = counted + seconds(plan.seconds);
  const auto work = [&](Connection& send) {
    Report own;
    while (true) {
      const size_t i = next++;
      Clock::time_point due = Clock::now();
      if (plan.rate > 0) {
        // A request that waits for a free connection waits for the server: it counts from when it was due.
        due = begin + seconds(static_cast<double>(i) / plan.rate);
        std::this_thread::sleep_until(std::min(due, end));
      }
      if (due >= end || (plan.requests > 0 && i >= plan.requests)) break;
      const Status status = send(i);
      const Clock::time_point done = Clock::now();
      if (due < counted && plan.requests == 0) continue;
      if (!status.ok()) {
        ++own.errors;
        own.first_error = status.message();
        continue;
      }
      own.latencies_ms.push_back(std::chrono::duration<double, std::milli>(done - due).count());
    }
    const std::lock_guard lock(mutex);
    report.errors += own.errors;
    if (report.first_error.empty()) report.first_error = own.first_error;
    report.latencies_ms.insert(report.latencies_ms.end(), own.latencies_ms.begin(), own.latencies_ms.end());
  };
  {
    std::vector<std::jthread> threads;
    for (Connection& connection : connections) threads.emplace_back([&] { work(connection); });
  }
  report.cpu_us = 1e6 * (cpu_seconds() - cpu_before) / static_cast<double>(std::max<size_t>(next, 1));
  std::ranges::sort(report.latencies_ms);
  report.requests = report.latencies_ms.size();
  report.seconds =
      std::chrono::duration<double>(Clock::now() - (plan.requests > 0 ? begin : counted)).count();
  return report;
}

}  // namespace nacre::load
