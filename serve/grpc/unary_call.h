#pragma once

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <utility>

#include "serve/call_context.h"
#include "serve/rpc_status.h"

namespace nacre {

/// A status in gRPC's form. The message travels in a header, so it is cut to what clients accept.
inline grpc::Status grpc_status_of(const RpcStatus& status) {
  constexpr size_t kMaxMessage = 1024;
  if (status.ok()) return grpc::Status::OK;
  return {static_cast<grpc::StatusCode>(status.code()), status.message().substr(0, kMaxMessage)};
}

/// One call with one answer, from its arrival until gRPC is done with it; owns itself in between.
class UnaryCall final : public grpc::ServerUnaryReactor {
 public:
  static UnaryCall* make(const grpc::CallbackServerContext& context) {
    return std::unique_ptr<UnaryCall>(new UnaryCall(context)).release();
  }

  /// The client has gone, the deadline has passed, or the server stops.
  void OnCancel() override { stop_.request_stop(); }
  void OnDone() override { const std::unique_ptr<UnaryCall> last(this); }

  [[nodiscard]] CallContext context(std::function<bool()> other_calls) const {
    return {deadline_, stop_.get_token(), std::move(other_calls)};
  }

 private:
  explicit UnaryCall(const grpc::CallbackServerContext& context) {
    // gRPC's deadline is by the wall clock, and far away for "none".
    constexpr auto kFar = std::chrono::hours(24 * 365);
    const auto left = context.deadline() - std::chrono::system_clock::now();
    if (left < kFar) deadline_ = ServeClock::now() + std::chrono::duration_cast<ServeClock::duration>(left);
  }

  ServeClock::time_point deadline_ = ServeClock::time_point::max();
  std::stop_source stop_;
};

}  // namespace nacre
