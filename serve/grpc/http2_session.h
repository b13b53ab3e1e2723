#pragma once

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "serve/access_record.h"
#include "serve/call_context.h"
#include "serve/grpc/grpc_call.h"

namespace nacre {

/// nghttp2 says of a submission that has failed no more than that it has no memory, where what was submitted
/// makes sense: throws std::bad_alloc then.
inline void http2_check(int result) {
  if (result == NGHTTP2_ERR_NOMEM) throw std::bad_alloc();
}

/// The server's end of an HTTP/2 connection that carries gRPC's calls (nghttp2: frames, header compression,
/// flow control). Knows no socket. For one thread at a time.
class Http2Session {
 public:
  struct Limits {
    GrpcCall::Limits calls;
    size_t max_calls = 1024;                     ///< of a connection at the same time
    size_t max_header_bytes = size_t{16} << 10;  ///< of a call, as HTTP/2 counts them
    /// For a request to come, or a reply to be taken, beside a second for every 256 KiB of it.
    std::chrono::milliseconds transfer{30000};
    const AccessSink* access = nullptr;  ///< is told of calls when they are over; may be null or empty
    /// For a client to say that it has heard of the end, before calls are refused.
    std::chrono::milliseconds goaway_grace{1000};
  };

  /// Throws std::bad_alloc. `methods` and what `limits` refers to must outlive it; `sink` is what calls send
  /// their replies to, `peer` the client's address.
  Http2Session(const GrpcMethods& methods, const Limits& limits, std::weak_ptr<GrpcReplySink> sink,
               std::string peer);
  /// Cancels its calls.
  ~Http2Session();
  Http2Session(const Http2Session&) = delete;
  Http2Session& operator=(const Http2Session&) = delete;

  /// Takes in what the client has sent. False when the connection must end at once.
  [[nodiscard]] bool receive(std::string_view bytes);
  /// Adds what is to be sent next, until `out` has `most` bytes or a little more, or there is no more of it.
  /// False as above.
  [[nodiscard]] bool fill(std::string& out, size_t most);
  /// Does what a call of this session asks for.
  void take(GrpcReply reply);
  /// Ends calls whose time is up; returns when to look again.
  ServeClock::time_point on_time(ServeClock::time_point now);
  /// When to look next, at the latest.
  [[nodiscard]] ServeClock::time_point deadline() const { return deadline_; }
  /// Tells the client that no more calls will be taken, and ends conversations. Calls that it sends before it
  /// has heard of that are taken still; then it is told which was the last (RFC 9113, 6.8).
  void go_away();
  /// No more calls are taken.
  [[nodiscard]] bool has_gone_away() const { return leaving_ == Leaving::kGone; }
  /// Ends all calls.
  void cancel_calls();

  /// The client has said what HTTP/2 begins with.
  [[nodiscard]] bool has_begun() const { return begun_; }
  [[nodiscard]] bool has_calls() const { return !calls_.empty(); }
  /// Nothing is left to be received or sent.
  [[nodiscard]] bool is_over() const;

 private:
  enum class Leaving : uint8_t { kNo, kAnnounced, kGone };

  struct Callbacks;  // nghttp2's, in http2_callbacks.cc
  static const nghttp2_session_callbacks* callbacks();
  static nghttp2_data_provider reply_source();

  void begin_call(int32_t stream);
  /// Memory that runs out meanwhile is the call's own failure.
  template <typename Function>
  void guard(GrpcCall& call, const Function& function) {
    try {
      function();
    } catch (const std::bad_alloc&) {
      answer(call, rpc_out_of_memory());
    }
  }
  void take_header(GrpcCall& call, std::string_view name, std::string_view value);
  void take_request_head(GrpcCall& call);
  void take_data(GrpcCall& call, std::string_view bytes);
  void take_message(GrpcCall& call, std::string_view bytes);
  void take_conversation(GrpcCall& call, std::string_view bytes);
  void read_conversation(GrpcCall& call);
  void begin_message(GrpcCall& call);
  void end_request(GrpcCall& call);
  void close_call(int32_t stream);
  void tell_access(const GrpcCall& call) const;
  /// Asks for an answer to what has been sent: once it is there, so are all calls that did not know of it.
  void ask_for_echo();
  void say_last_call();
  void end_conversations();
  [[nodiscard]] ServeClock::time_point transfer_ends(const GrpcCall& call) const;
  [[nodiscard]] ServeClock::time_point call_ends(const GrpcCall& call) const;
  void look_by(ServeClock::time_point time) { deadline_ = std::min(deadline_, time); }

  void answer(GrpcCall& call, RpcStatus status);
  void respond(GrpcCall& call);
  void refuse(GrpcCall& call, std::string_view http_status);
  void reset(int32_t stream, uint32_t error);
  void cancel(GrpcCall& call);
  /// Takes at most `room` bytes of a reply into the next frame.
  ssize_t frame_reply(GrpcCall& call, size_t room, uint32_t& flags);
  void send_reply(GrpcCall& call, const uint8_t* head, size_t bytes);
  void send_trailers(GrpcCall& call);

  const GrpcMethods& methods_;
  const Limits limits_;
  const std::weak_ptr<GrpcReplySink> sink_;
  const std::string peer_;
  std::unique_ptr<nghttp2_session, void (*)(nghttp2_session*)> session_;
  std::unordered_map<int32_t, std::shared_ptr<GrpcCall>> calls_;  ///< by stream
  ServeClock::time_point deadline_ = ServeClock::time_point::max();
  bool begun_ = false;
  Leaving leaving_ = Leaving::kNo;
  ServeClock::time_point leaving_ends_ = ServeClock::time_point::max();  ///< of kAnnounced
  std::string* out_ = nullptr;                                           ///< that `fill` is adding to
  size_t most_out_ = 0;
};

}  // namespace nacre
