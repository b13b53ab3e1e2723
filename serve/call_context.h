#pragma once

#include <chrono>
#include <functional>
#include <stop_token>

#include "serve/rpc_status.h"

namespace nacre {

using ServeClock = std::chrono::steady_clock;

/// Until when a call's answer is of use to somebody, and what its thread may do meanwhile.
struct CallContext {
  ServeClock::time_point deadline = ServeClock::time_point::max();
  std::stop_token cancelled;  ///< stop is requested when the client has gone
  /// Answers another of the transport's calls, a short one (when `alike`, one that asks the same of the same
  /// model), on this thread, or takes in what has come; false when there is nothing. May be empty.
  std::function<bool(bool alike)> other_calls{};
  /// Of a call that is answered within another; else null. When it would hold that one up for long it says so
  /// here, and ends with any error: the transport answers it once more, by itself.
  bool* postponed = nullptr;

  /// Success while the answer is of use; else kCancelled or kDeadlineExceeded.
  [[nodiscard]] RpcStatus check() const {
    if (cancelled.stop_requested()) return {RpcCode::kCancelled, "the client has gone"};
    if (ServeClock::now() >= deadline) return {RpcCode::kDeadlineExceeded, "the deadline has passed"};
    return {};
  }
  [[nodiscard]] bool is_postponed() const { return postponed != nullptr && *postponed; }
  /// Whether this thread answers within another call.
  [[nodiscard]] static bool is_nested() { return nesting().calls > 0; }
  /// Whether that one waits for it to go through the network together.
  [[nodiscard]] static bool is_joined() { return nesting().alike; }

  /// What a call may do with its thread when it lets others pass, or has time until it goes on:
  /// `other_calls`. False, too, when too many are within each other on this thread.
  [[nodiscard]] bool answer_another(bool alike = false) const {
    constexpr int kMostNested = 32;
    if (!other_calls || nesting().calls == kMostNested) return false;
    struct Level {
      explicit Level(bool alike) : outer(nesting()) { nesting() = {outer.calls + 1, alike}; }
      ~Level() { nesting() = outer; }
      const Nesting outer;
    };
    const Level level(alike);
    return other_calls(alike);
  }

 private:
  struct Nesting {
    int calls = 0;
    bool alike = false;  ///< the innermost
  };
  static Nesting& nesting() {
    thread_local Nesting current;
    return current;
  }
};

}  // namespace nacre
