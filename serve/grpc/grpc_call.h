#pragma once

#include <google/protobuf/message_lite.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "serve/byte_budget.h"
#include "serve/call_context.h"
#include "serve/grpc/grpc_wire.h"
#include "serve/rpc_status.h"

namespace nacre {

class GrpcCall;

/// How calls of a path are answered.
struct GrpcMethod {
  /// Of calls with one request, which is there: sees to it that GrpcCall::finish is called, on any thread.
  /// Must not wait for anything. When it throws std::bad_alloc the call is refused.
  std::function<void(const std::shared_ptr<GrpcCall>& call)> take;
  /// In its place, of a conversation: adds the framed answer to a message (frame_message), or ends the call
  /// with an error. For what is answered at once.
  std::function<RpcStatus(std::string_view request, std::string& framed)> converse;
};
/// By path: "/package.Service/Method".
using GrpcMethods = std::unordered_map<std::string, GrpcMethod>;

/// Adds a message with its prefix. kResourceExhausted when it is too long for one.
RpcStatus frame_message(const google::protobuf::MessageLite& message, std::string& framed);

/// What a connection is asked to do for one of its calls.
struct GrpcReply {
  enum class Kind : uint8_t { kMessage, kEnd, kCancel };
  std::shared_ptr<GrpcCall> call;
  Kind kind = Kind::kEnd;
  std::string framed;  ///< one message, or none
  RpcStatus status;    ///< of kEnd
};

/// A connection, as calls see it. Thread-safe.
class GrpcReplySink {
 public:
  GrpcReplySink() = default;
  virtual ~GrpcReplySink() = default;
  GrpcReplySink(const GrpcReplySink&) = delete;
  GrpcReplySink& operator=(const GrpcReplySink&) = delete;

  /// Does it soon; neither waits nor throws.
  virtual void post(GrpcReply reply) = 0;
  /// How many calls live, also of those whose client has gone.
  std::atomic<size_t> live_calls{0};
};

/// Replies that wait for their clients, of all connections together. Thread-safe.
class UnsentReplies {
 public:
  explicit UnsentReplies(size_t max_bytes) : max_bytes_(max_bytes) {}

  struct Reply {
    std::weak_ptr<GrpcCall> call;
    size_t bytes = 0;
  };
  using Place = std::list<Reply>::iterator;
  /// Notes one; when too much waits, the calls that have been at it for longest are cancelled.
  Place add(const std::shared_ptr<GrpcCall>& call, size_t bytes);
  void remove(Place place);

 private:
  const size_t max_bytes_;
  std::mutex mutex_;
  std::list<Reply> replies_;  // guarded by mutex_; the oldest first
  size_t bytes_ = 0;          // guarded by mutex_
};

/// A call with its request, from its first header to its last reply. Its public functions are for services,
/// and thread-safe but for `decode` and `release_request`, which are for who answers it. The rest belongs to
/// the HTTP/2 session.
class GrpcCall : public std::enable_shared_from_this<GrpcCall> {
 public:
  struct Limits {
    size_t max_message_bytes = size_t{64} << 20;
    ByteBudget* received = nullptr;   ///< counts what is held of requests
    UnsentReplies* unsent = nullptr;  ///< knows of replies that are not small
  };
  GrpcCall(std::shared_ptr<GrpcReplySink> sink, int32_t stream, const Limits& limits);
  ~GrpcCall();
  GrpcCall(const GrpcCall&) = delete;
  GrpcCall& operator=(const GrpcCall&) = delete;

  [[nodiscard]] const GrpcMessage& request() const { return request_; }
  /// kInternal for bytes that are no such message, and the errors of grpc_content.
  RpcStatus decode(google::protobuf::MessageLite& message) const;
  /// Its bytes are not needed any more.
  void release_request() { std::exchange(request_, {}); }
  [[nodiscard]] CallContext context(std::function<bool(bool alike)> other_calls, bool* postponed) const {
    return {deadline_, stop_.get_token(), std::move(other_calls), postponed};
  }
  /// Nobody waits for what it still says.
  [[nodiscard]] bool is_over() const { return stop_.stop_requested(); }
  /// All that was sent is on its way.
  [[nodiscard]] bool is_sent() const { return waiting_messages_ == 0; }

  /// Sends one of many responses.
  void send(const google::protobuf::MessageLite& response);
  /// Ends it, with its only response, or without one. Once.
  void finish(RpcStatus status, const google::protobuf::MessageLite* response = nullptr);
  /// Ends it without a word.
  void cancel();

 private:
  friend class Http2Session;

  const std::shared_ptr<GrpcReplySink> sink_;
  const int32_t stream_;
  const Limits limits_;
  const GrpcMethod* method_ = nullptr;
  std::stop_source stop_;
  ServeClock::time_point deadline_ = ServeClock::time_point::max();
  std::atomic<int> waiting_messages_{0};  ///< of `send`

  // The request.
  std::string path_;  ///< its beginning, when it is long
  std::optional<std::chrono::nanoseconds> timeout_;
  bool has_bad_timeout_ = false;
  bool is_post_ = false;
  bool is_grpc_ = false;
  bool has_te_ = false;
  GrpcEncoding encoding_ = GrpcEncoding::kIdentity;
  size_t header_bytes_ = 0;
  GrpcMessageReader reader_;
  std::string unread_;  ///< of a conversation, whose client is slow to take the answers
  ByteBudget::Share unread_share_;
  GrpcMessage request_;
  bool has_request_ = false;
  bool request_ended_ = false;
  ServeClock::time_point begun_;  ///< what is being received, or sent
  size_t received_bytes_ = 0;     ///< since then
  ServeClock::time_point asked_;  ///< when its request had come
  size_t request_bytes_ = 0;      ///< all of them
  ByteBudget::Share share_;       ///< of what a call takes beside its messages

  // The reply.
  std::string reply_;
  size_t reply_taken_ = 0;  ///< of which the session has sent so much
  ByteBudget::Share reply_share_;
  std::optional<UnsentReplies::Place> unsent_;  ///< of a reply that is noted there
  size_t reply_bytes_ = 0;                      ///< that have been sent
  bool responded_ = false;                      ///< its headers are on their way
  bool answered_ = false;                       ///< nothing more is said than what is in reply_ and status_
  bool reset_ = false;                          ///< the session has given it up
  RpcStatus status_;
};

}  // namespace nacre
