#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <utility>

#include "serve/call_context.h"
#include "serve/grpc/call_threads.h"
#include "serve/rpc_status.h"

namespace nacre {

/// A status in gRPC's form. The message travels in a header, so it is cut to what clients accept.
inline grpc::Status grpc_status_of(const RpcStatus& status) {
  constexpr size_t kMaxMessage = 1024;
  if (status.ok()) return grpc::Status::OK;
  return {static_cast<grpc::StatusCode>(status.code()), status.message().substr(0, kMaxMessage)};
}

/// One call with one answer, from before its arrival until gRPC is done with it; owns itself in between.
template <typename Service, typename Request, typename Response>
class UnaryCall final : QueuedCall {
 public:
  using Writer = grpc::ServerAsyncResponseWriter<Response>;
  struct Method {
    void (Service::*request)(grpc::ServerContext*, Request*, Writer*, grpc::CompletionQueue*,
                             grpc::ServerCompletionQueue*, void*);
    /// Sees to it that `finish` is called, on any thread, for a call that has come.
    std::function<void(UnaryCall& call)> take;
  };

  /// Asks gRPC for the method's next call, and so on for ever. Service and threads must outlive them.
  static void await(Service& service, std::shared_ptr<const Method> method, CallThreads& threads) {
    auto* const call =
        std::unique_ptr<UnaryCall>(new UnaryCall(service, std::move(method), threads)).release();
    (service.*call->method_->request)(&call->context_, &call->request_, &call->writer_, threads.queue(),
                                      threads.queue(), &call->arrived_);
  }

  [[nodiscard]] const Request& request() const { return request_; }
  [[nodiscard]] Response& response() { return response_; }
  [[nodiscard]] CallContext context(std::function<bool()> other_calls) const {
    return {deadline_, stop_.get_token(), std::move(other_calls)};
  }

  /// Sends the response, or the error. The call may end its life at once.
  void finish(const RpcStatus& status) { writer_.Finish(response_, grpc_status_of(status), &finished_); }

 private:
  UnaryCall(Service& service, std::shared_ptr<const Method> method, CallThreads& threads)
      : QueuedCall(threads), service_(service), method_(std::move(method)) {
    context_.AsyncNotifyWhenDone(&done_);
  }

  void on_arrival(bool ok) {
    if (!ok) {  // the server stops
      const std::unique_ptr<UnaryCall> last(this);
      return;
    }
    await(service_, method_, threads());
    // gRPC's deadline is by the wall clock, and far away for "none".
    constexpr auto kFar = std::chrono::hours(24 * 365);
    const auto left = context_.deadline() - std::chrono::system_clock::now();
    if (left < kFar) deadline_ = ServeClock::now() + std::chrono::duration_cast<ServeClock::duration>(left);
    method_->take(*this);
  }
  /// It has its answer, or the client has gone, the deadline has passed, or the server stops.
  void on_done(bool /*ok*/) {
    if (context_.IsCancelled()) stop_.request_stop();
    release();
  }
  void on_finished(bool /*ok*/) { release(); }
  void release() {
    if (--events_left_ == 0) const std::unique_ptr<UnaryCall> last(this);
  }

  Service& service_;
  std::shared_ptr<const Method> method_;
  grpc::ServerContext context_;
  Request request_;
  Response response_;
  Writer writer_{&context_};
  BoundEvent<UnaryCall> arrived_{*this, &UnaryCall::on_arrival};
  BoundEvent<UnaryCall> done_{*this, &UnaryCall::on_done};
  BoundEvent<UnaryCall> finished_{*this, &UnaryCall::on_finished};
  std::atomic<int> events_left_{2};
  ServeClock::time_point deadline_ = ServeClock::time_point::max();
  std::stop_source stop_;
};

}  // namespace nacre
