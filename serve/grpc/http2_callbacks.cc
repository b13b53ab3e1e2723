// What nghttp2 calls: from here on exceptions end at its border.
#include <nghttp2/nghttp2.h>

#include <cstdint>
#include <new>
#include <string_view>
#include <utility>

#include "serve/grpc/http2_session.h"

namespace nacre {
namespace {

std::string_view text_of(const uint8_t* bytes, size_t size) {
  return {reinterpret_cast<const char*>(bytes), size};
}

bool ends_stream(const nghttp2_frame& frame) {
  const bool has_flag = frame.hd.type == NGHTTP2_HEADERS || frame.hd.type == NGHTTP2_DATA;
  return has_flag && (frame.hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
}

/// Of the client's side.
bool is_request_head(const nghttp2_frame& frame) {
  return frame.hd.type == NGHTTP2_HEADERS && frame.headers.cat == NGHTTP2_HCAT_REQUEST;
}

bool is_echo(const nghttp2_frame& frame) {
  return frame.hd.type == NGHTTP2_PING && (frame.hd.flags & NGHTTP2_FLAG_ACK) != 0;
}

/// GOAWAY that refuses no call yet.
bool is_shutdown_notice(const nghttp2_frame& frame) {
  return frame.hd.type == NGHTTP2_GOAWAY && frame.goaway.last_stream_id == INT32_MAX;
}

/// What is thrown here, for want of memory, takes the connection along.
template <typename Function>
int guarded(const Function& function) {
  try {
    function();
    return 0;
  } catch (...) {
    return NGHTTP2_ERR_CALLBACK_FAILURE;
  }
}

}  // namespace

struct Http2Session::Callbacks {
  /// Of the largest headers, up to which a client is told that its own are too large.
  static constexpr size_t kHeaderFactor = 4;

  static Http2Session& self(void* user) { return *static_cast<Http2Session*>(user); }
  /// Null for a stream that was refused.
  static GrpcCall* call_of(nghttp2_session* session, int32_t stream) {
    return static_cast<GrpcCall*>(nghttp2_session_get_stream_user_data(session, stream));
  }

  static int on_begin_headers(nghttp2_session* /*session*/, const nghttp2_frame* frame, void* user) {
    if (!is_request_head(*frame)) return 0;
    return guarded([&] { self(user).begin_call(frame->hd.stream_id); });
  }
  static int on_header(nghttp2_session* session, const nghttp2_frame* frame, const uint8_t* name,
                       size_t name_size, const uint8_t* value, size_t value_size, uint8_t /*flags*/,
                       void* user) {
    GrpcCall* const call = call_of(session, frame->hd.stream_id);
    if (call == nullptr || !is_request_head(*frame)) return 0;
    // What is beyond all measure costs nghttp2 more than it costs the client to send.
    if (call->header_bytes_ > kHeaderFactor * self(user).limits_.max_header_bytes)
      return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    return guarded(
        [&] { self(user).take_header(*call, text_of(name, name_size), text_of(value, value_size)); });
  }
  static int on_data(nghttp2_session* session, uint8_t /*flags*/, int32_t stream, const uint8_t* bytes,
                     size_t size, void* user) {
    GrpcCall* const call = call_of(session, stream);
    if (call == nullptr) return 0;
    return guarded([&] { self(user).take_data(*call, text_of(bytes, size)); });
  }
  static int on_frame_received(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
    if (frame->hd.type == NGHTTP2_SETTINGS) self(user).begun_ = true;
    if (is_echo(*frame)) return guarded([&] { self(user).say_last_call(); });
    const bool is_head = is_request_head(*frame);
    if (!is_head && !ends_stream(*frame)) return 0;
    GrpcCall* const call = call_of(session, frame->hd.stream_id);
    if (call == nullptr) return 0;
    return guarded([&] {
      if (is_head) self(user).take_request_head(*call);
      if (ends_stream(*frame)) self(user).end_request(*call);
    });
  }
  /// A client that is answered before it has sent all need not go on. PING is sent behind the notice only
  /// then, as nghttp2 puts it before all that waits.
  static int on_frame_sent(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
    if (is_shutdown_notice(*frame)) return guarded([&] { self(user).ask_for_echo(); });
    if (!ends_stream(*frame) || nghttp2_session_get_stream_remote_close(session, frame->hd.stream_id) != 0)
      return 0;
    return guarded([&] { self(user).reset(frame->hd.stream_id, NGHTTP2_NO_ERROR); });
  }
  static int on_stream_close(nghttp2_session* /*session*/, int32_t stream, uint32_t /*error*/, void* user) {
    return guarded([&] { self(user).close_call(stream); });
  }
  static ssize_t read_reply(nghttp2_session* session, int32_t stream, uint8_t* /*out*/, size_t room,
                            uint32_t* flags, nghttp2_data_source* /*source*/, void* user) {
    GrpcCall* const call = call_of(session, stream);
    if (call == nullptr || call->reset_) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    ssize_t count = NGHTTP2_ERR_CALLBACK_FAILURE;
    guarded([&] { count = self(user).frame_reply(*call, room, *flags); });
    return count;
  }
  static int send_reply(nghttp2_session* session, nghttp2_frame* frame, const uint8_t* head, size_t size,
                        nghttp2_data_source* /*source*/, void* user) {
    GrpcCall* const call = call_of(session, frame->hd.stream_id);
    if (call == nullptr || call->reset_) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    if (self(user).out_->size() >= self(user).most_out_) return NGHTTP2_ERR_WOULDBLOCK;
    return guarded([&] { self(user).send_reply(*call, head, size); });
  }
};

nghttp2_data_provider Http2Session::reply_source() {
  nghttp2_data_provider source{};
  source.read_callback = Callbacks::read_reply;
  return source;
}

const nghttp2_session_callbacks* Http2Session::callbacks() {
  using Owned = std::unique_ptr<nghttp2_session_callbacks, void (*)(nghttp2_session_callbacks*)>;
  static const Owned all = [] {
    nghttp2_session_callbacks* raw = nullptr;
    if (nghttp2_session_callbacks_new(&raw) != 0) throw std::bad_alloc();
    nghttp2_session_callbacks_set_on_begin_headers_callback(raw, Callbacks::on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(raw, Callbacks::on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(raw, Callbacks::on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(raw, Callbacks::on_frame_received);
    nghttp2_session_callbacks_set_on_frame_send_callback(raw, Callbacks::on_frame_sent);
    nghttp2_session_callbacks_set_on_stream_close_callback(raw, Callbacks::on_stream_close);
    nghttp2_session_callbacks_set_send_data_callback(raw, Callbacks::send_reply);
    return Owned(raw, nghttp2_session_callbacks_del);
  }();
  return all.get();
}

}  // namespace nacre
