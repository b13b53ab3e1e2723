#pragma once

#include <chrono>
#include <functional>
#include <stop_token>

#include "serve/rpc_status.h"

namespace nacre {

using ServeClock = std::chrono::steady_clock;

/// Until when a call's answer is of use to somebody.
struct CallContext {
  ServeClock::time_point deadline = ServeClock::time_point::max();
  std::stop_token cancelled;  ///< stop is requested when the client has gone
  /// Answers another of the transport's calls, a short one, on this thread; false when none waits. May be
  /// empty.
  std::function<bool()> other_calls{};

  /// Success while the answer is of use; else kCancelled or kDeadlineExceeded.
  [[nodiscard]] RpcStatus check() const {
    if (cancelled.stop_requested()) return {RpcCode::kCancelled, "the client has gone"};
    if (ServeClock::now() >= deadline) return {RpcCode::kDeadlineExceeded, "the deadline has passed"};
    return {};
  }

  /// What a call may do with its thread when it lets others pass, or has time until it goes on: answers a
  /// call that waits. False when there is none, or when too many are within each other on this thread.
  [[nodiscard]] bool answer_another() const {
    constexpr int kMostNested = 32;
    thread_local int nested = 0;
    if (!other_calls || nested == kMostNested) return false;
    ++nested;
    const bool answered = other_calls();
    --nested;
    return answered;
  }
};

}  // namespace nacre
