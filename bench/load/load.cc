#include "bench/load/load.h"

#include <poll.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

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

/// When a run begins, begins to count, and ends.
struct Times {
  Clock::time_point begin = Clock::now();
  Clock::time_point counted;
  Clock::time_point end;

  explicit Times(const Plan& plan)
      : counted(begin + seconds(plan.warm_up_seconds)), end(counted + seconds(plan.seconds)) {}
};

/// What is asked for, one after the other.
class Requests {
 public:
  Requests(const Plan& plan, const Times& times) : plan_(plan), times_(times) {}

  /// When request i is to be sent: at its time, or at once; nothing when there is no such request. One that
  /// waits for a free connection waits for the server: it counts from when it was due.
  [[nodiscard]] std::optional<Clock::time_point> due(size_t i) const {
    const auto time =
        plan_.rate > 0 ? times_.begin + seconds(static_cast<double>(i) / plan_.rate) : Clock::now();
    if (time >= times_.end || (plan_.requests > 0 && i >= plan_.requests)) return std::nullopt;
    return time;
  }
  void note(Clock::time_point due, Clock::time_point done, const Status& status, Report& report) const {
    if (due < times_.counted && plan_.requests == 0) return;
    if (status.ok()) {
      report.latencies_ms.push_back(std::chrono::duration<double, std::milli>(done - due).count());
    } else if (++report.errors == 1) {
      report.first_error = status.message();
    }
  }

 private:
  const Plan& plan_;
  const Times& times_;
};

struct Slot {
  std::unique_ptr<Connection> connection;
  bool busy = false;
  Clock::time_point due;  ///< of its request
};

/// The number of requests.
size_t run_sockets(std::vector<Slot>& slots, const Requests& requests, Report& report) {
  std::vector<pollfd> sockets;
  for (const Slot& slot : slots) sockets.push_back({slot.connection->socket(), POLLIN, 0});
  size_t next = 0;
  while (!slots.empty()) {
    std::optional<Clock::time_point> due;
    bool idle = false;
    for (Slot& slot : slots) {
      if (slot.busy) continue;
      due = requests.due(next);
      idle = due.has_value() && *due > Clock::now();
      if (!due.has_value() || idle) break;
      slot.due = *due;
      const Status sent = slot.connection->start(next++);
      slot.busy = sent.ok();
      if (!sent.ok()) requests.note(slot.due, Clock::now(), sent, report);
    }
    if (!idle && std::ranges::none_of(slots, &Slot::busy)) {
      if (!requests.due(next).has_value()) return next;
      continue;
    }
    bool more = false;  // of an answer is to come
    const bool any = ::poll(sockets.data(), sockets.size(), idle ? 0 : -1) > 0;
    for (size_t i = slots.size(); any && i-- > 0;) {
      if (sockets[i].revents == 0) continue;
      // Between requests, too: HTTP/2 has more to say than answers.
      const auto answered = slots[i].connection->receive();
      if (answered.ok() && (!slots[i].busy || !answered->has_value())) {
        more = more || slots[i].busy;
        continue;
      }
      const Clock::time_point done = answered.ok() ? **answered : Clock::now();
      requests.note(slots[i].busy ? slots[i].due : done, done, answered.status(), report);
      if (std::exchange(slots[i].busy, false)) continue;
      // It has been closed.
      slots.erase(slots.begin() + static_cast<std::ptrdiff_t>(i));
      sockets.erase(sockets.begin() + static_cast<std::ptrdiff_t>(i));
    }
    // Answers have the time of their arrival: waking for each would take CPU time of the server's.
    if (idle && !more && !slots.empty()) std::this_thread::sleep_until(*due);
  }
  return next;
}

/// The same for connections without a socket.
size_t run_threads(std::vector<Slot>& slots, const Requests& requests, Report& report) {
  std::mutex mutex;
  std::atomic<size_t> next{0};
  const auto work = [&](Connection& connection) {
    Report own;
    while (true) {
      const size_t i = next++;
      const auto due = requests.due(i);
      if (!due.has_value()) break;
      std::this_thread::sleep_until(*due);
      const Status answered = connection.start(i);
      requests.note(*due, Clock::now(), answered, own);
    }
    const std::lock_guard lock(mutex);
    report.errors += own.errors;
    if (report.first_error.empty()) report.first_error = own.first_error;
    report.latencies_ms.insert(report.latencies_ms.end(), own.latencies_ms.begin(), own.latencies_ms.end());
  };
  std::vector<std::jthread> threads;
  for (Slot& slot : slots) threads.emplace_back([&] { work(*slot.connection); });
  threads.clear();
  return next;
}

}  // namespace

double Report::percentile(double share) const {
  if (latencies_ms.empty()) return 0;
  const auto rank = static_cast<size_t>(std::ceil(share * static_cast<double>(latencies_ms.size())));
  return latencies_ms[std::min(std::max<size_t>(rank, 1), latencies_ms.size()) - 1];
}

Result<Report> run(const Target& target, const Plan& plan) {
  std::vector<Slot> slots(plan.connections);
  for (Slot& slot : slots) {
    NACRE_ASSIGN_OR_RETURN(slot.connection, target());
  }
  Report report;
  const double cpu_before = cpu_seconds();
  const Times times(plan);
  const Requests requests(plan, times);
  const bool sockets = slots.front().connection->socket() >= 0;
  const size_t count = sockets ? run_sockets(slots, requests, report) : run_threads(slots, requests, report);
  report.cpu_us = 1e6 * (cpu_seconds() - cpu_before) / static_cast<double>(std::max<size_t>(count, 1));
  std::ranges::sort(report.latencies_ms);
  report.requests = report.latencies_ms.size();
  report.seconds =
      std::chrono::duration<double>(Clock::now() - (plan.requests > 0 ? times.begin : times.counted)).count();
  return report;
}

}  // namespace nacre::load
