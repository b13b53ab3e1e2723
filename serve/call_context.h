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
  /// Answers another of the transport's calls, a short one, on this thread, or takes in what has come; false
  /// when there is nothing. May be empty.
  std::function<bool()> other_calls{};

  /// Success while the answer is of use; else kCancelled or kDeadlineExceeded.
  [[nodiscard]] RpcStatus check() const {
    if (cancelled.stop_requested()) return {RpcCode::kCancelled, "the client has gone"};
    if (ServeClock::now() >= deadline) return {RpcCode::kDeadlineExceeded, "the deadline has passed"};
    return {};
  }

  /// What a call may do with its thread when it lets others pass, or has time until it goes on:
  /// `other_calls`. False, too, when too many are within each other on this thread.
  [[nodiscard]] bool answer_another() const {
    constexpr int kMostNested = 32;
    thread_local int nested = 0;
    if (!other_calls || nested == kMostNested) return false;
    struct Level {
      Level() { ++nested; }
      ~Level() { --nested; }
    };
    const Level level;
    return other_calls();
  }
};

}  // namespace nacre
