#pragma once

#include <google/protobuf/message.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/codegen/proto_utils.h>
#include <grpcpp/support/async_unary_call.h>
#include <grpcpp/support/proto_buffer_reader.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
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

/// Bytes of the wire as a message; kInternal when they are none.
inline RpcStatus decode_message(grpc::ByteBuffer& bytes, google::protobuf::Message& message) {
  using Traits = grpc::SerializationTraits<google::protobuf::Message>;
  if (Traits::Deserialize(&bytes, &message).ok()) return {};
  return {RpcCode::kInternal, "Unable to parse request"};
}

/// Equal for requests that begin with the same ModelSpec, which is the first field of those that compute.
inline size_t kind_of(grpc::ByteBuffer& request) {
  grpc::ProtoBufferReader reader(&request);
  const void* data = nullptr;
  int size = 0;
  if (!reader.status().ok() || !reader.Next(&data, &size)) return 0;
  const std::string_view bytes(static_cast<const char*>(data), static_cast<size_t>(size));
  constexpr char kFirstField = 0x0a;  // with a length, which is a byte where it is below 128
  if (bytes.size() < 2 || bytes[0] != kFirstField || (bytes[1] & 0x80) != 0) return 0;
  return std::hash<std::string_view>()(bytes.substr(0, 2 + static_cast<size_t>(bytes[1])));
}

/// One call with one answer, from before its arrival until gRPC is done with it; owns itself in between. Its
/// request stays as it came over the wire until its turn: so calls that wait hold no more than was sent, and
/// memory that runs out while a request is decoded is that call's own failure.
template <typename Service>
class UnaryCall final : QueuedCall {
 public:
  using Writer = grpc::ServerAsyncResponseWriter<grpc::ByteBuffer>;
  struct Method {
    void (Service::*request)(grpc::ServerContext*, grpc::ByteBuffer*, Writer*, grpc::CompletionQueue*,
                             grpc::ServerCompletionQueue*, void*);
    /// Sees to it that `finish` is called, on any thread, for a call that has come. When it throws
    /// std::bad_alloc it has not, and the call is refused.
    std::function<void(UnaryCall& call)> take;
  };

  /// Asks gRPC for the method's next call, and so on for ever. Service and threads must outlive them.
  static void await(Service& service, std::shared_ptr<const Method> method, CallThreads& threads) {
    std::unique_ptr<UnaryCall> call(new UnaryCall(service, std::move(method), threads));
    (service.*call->method_->request)(&call->context_, &call->request_, &call->writer_, threads.queue(),
                                      threads.queue(), &call->arrived_);
    static_cast<void>(call.release());  // it may have come, and gone, already
  }

  /// The request's bytes; decode_message takes them.
  [[nodiscard]] grpc::ByteBuffer& request() { return request_; }
  [[nodiscard]] CallContext context(std::function<bool(bool alike)> other_calls, bool* postponed) const {
    return {deadline_, stop_.get_token(), std::move(other_calls), postponed};
  }

  /// Sends the response, or the error, which needs none. The call may end its life at once.
  void finish(RpcStatus status, const google::protobuf::Message* response = nullptr) {
    try {
      if (status.ok()) {
        grpc::ByteBuffer bytes;
        bool own = false;
        const grpc::Status encoded =
            grpc::SerializationTraits<google::protobuf::Message>::Serialize(*response, &bytes, &own);
        if (encoded.ok()) {
          if (bytes.Length() > kUncountedBytes) unsent_ = threads().add_unsent(context_, bytes.Length());
          return writer_.Finish(bytes, grpc::Status::OK, &finished_);
        }
        status = {RpcCode::kInternal, encoded.error_message()};
      }
      writer_.FinishWithError(grpc_status_of(status), &finished_);
    } catch (const std::bad_alloc&) {
      context_.TryCancel();  // not even an error can be told
      on_finished(false);
    }
  }

 private:
  /// Of a reply, up to which it is as small as what gRPC has of the call anyway.
  static constexpr size_t kUncountedBytes = size_t{4} << 10;

  UnaryCall(Service& service, std::shared_ptr<const Method> method, CallThreads& threads)
      : QueuedCall(threads), service_(service), method_(std::move(method)) {
    context_.AsyncNotifyWhenDone(&done_);
  }

  void on_arrival(bool ok) {
    if (!ok) {  // the server stops
      const std::unique_ptr<UnaryCall> last(this);
      return;
    }
    ask_next([this] { await(service_, method_, threads()); });
    // gRPC's deadline is by the wall clock, and far away for "none".
    constexpr auto kFar = std::chrono::hours(24 * 365);
    const auto left = context_.deadline() - std::chrono::system_clock::now();
    if (left < kFar) deadline_ = ServeClock::now() + std::chrono::duration_cast<ServeClock::duration>(left);
    try {
      method_->take(*this);
    } catch (const std::bad_alloc&) {
      finish({RpcCode::kResourceExhausted, "out of memory"});
    }
  }
  /// It has its answer, or the client has gone, the deadline has passed, or the server stops.
  void on_done(bool /*ok*/) {
    if (context_.IsCancelled()) stop_.request_stop();
    release();
  }
  void on_finished(bool /*ok*/) {
    if (unsent_.has_value()) threads().remove_unsent(*unsent_);
    release();
  }
  void release() {
    if (--events_left_ > 0) return;
    ask_next_at_last([this] { await(service_, method_, threads()); });
    const std::unique_ptr<UnaryCall> last(this);
  }

  Service& service_;
  std::shared_ptr<const Method> method_;
  grpc::ServerContext context_;
  grpc::ByteBuffer request_;
  Writer writer_{&context_};
  BoundEvent<UnaryCall> arrived_{*this, &UnaryCall::on_arrival};
  BoundEvent<UnaryCall> done_{*this, &UnaryCall::on_done};
  BoundEvent<UnaryCall> finished_{*this, &UnaryCall::on_finished};
  std::atomic<int> events_left_{2};
  std::optional<CallThreads::UnsentReplies::iterator> unsent_;  ///< of a reply that is counted
  ServeClock::time_point deadline_ = ServeClock::time_point::max();
  std::stop_source stop_;
};

}  // namespace nacre
