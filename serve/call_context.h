#pragma once

#include <chrono>
#include <stop_token>

#include "serve/rpc_status.h"

namespace nacre {

using ServeClock = std::chrono::steady_clock;

/// Until when a call's answer is of use to somebody.
struct CallContext {
  ServeClock::time_point deadline = ServeClock::time_point::max();
  std::stop_token cancelled;  ///< stop is requested when the client has gone

  /// Success while the answer is of use; else kCancelled or kDeadlineExceeded.
  [[nodiscard]] RpcStatus check() const {
    if (cancelled.stop_requested()) return {RpcCode::kCancelled, "the client has gone"};
    if (ServeClock::now() >= deadline) return {RpcCode::kDeadlineExceeded, "the deadline has passed"};
    return {};
  }
};

}  // namespace nacre
