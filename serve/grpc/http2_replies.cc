// What an Http2Session sends: statuses, messages, trailers, resets.
#include <array>
#include <new>
#include <utility>
#include <vector>

#include "serve/grpc/http2_session.h"

namespace nacre {
namespace {

constexpr RpcCode kLastCode = RpcCode::kUnauthenticated;
constexpr std::array<std::string_view, static_cast<size_t>(kLastCode) + 1> kCodes = {
    "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16"};

/// A header; what `lasts` is not copied.
nghttp2_nv header(std::string_view name, std::string_view value, bool lasts = true) {
  const auto bytes = [](std::string_view text) {
    return reinterpret_cast<uint8_t*>(const_cast<char*>(text.data()));  // NOLINT: read only
  };
  const int flags =
      lasts ? NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE : NGHTTP2_NV_FLAG_NO_COPY_NAME;
  return {bytes(name), bytes(value), name.size(), value.size(), static_cast<uint8_t>(flags)};
}

using Headers = std::vector<nghttp2_nv>;

void add_status(const RpcStatus& status, const std::string& message, Headers& headers) {
  headers.push_back(header("grpc-status", kCodes[static_cast<size_t>(status.code())]));
  if (!message.empty()) headers.push_back(header("grpc-message", message, false));
}

Headers response_head() {
  return {header(":status", "200"), header("content-type", "application/grpc"),
          header("grpc-accept-encoding", kGrpcAcceptEncoding)};
}

}  // namespace

void Http2Session::take(GrpcReply reply) {
  GrpcCall& call = *reply.call;
  if (reply.kind == GrpcReply::Kind::kMessage && call.answered_) call.waiting_messages_ = 0;
  if (!calls_.contains(call.stream_)) return;
  if (reply.kind == GrpcReply::Kind::kCancel) return cancel(call);
  if (call.answered_) return;  // its deadline has passed, say
  if (call.reply_.empty()) {
    call.reply_ = std::move(reply.framed);
  } else {
    call.reply_ += reply.framed;
  }
  if (reply.kind == GrpcReply::Kind::kEnd) return answer(call, std::move(reply.status));
  respond(call);
}

/// Says how the call has ended, behind what it has said.
void Http2Session::answer(GrpcCall& call, RpcStatus status) {
  if (call.answered_) return;
  call.answered_ = true;
  call.status_ = std::move(status);
  call.begun_ = ServeClock::now();
  look_by(transfer_ends(call));
  if (call.responded_ || call.status_.ok()) return respond(call);
  call.responded_ = true;
  const std::string message = encode_grpc_message(call.status_.message());
  Headers headers = response_head();
  add_status(call.status_, message, headers);
  http2_check(nghttp2_submit_response(session_.get(), call.stream_, headers.data(), headers.size(), nullptr));
}

/// Sends what is in its reply.
void Http2Session::respond(GrpcCall& call) {
  if (std::exchange(call.responded_, true)) {
    // An error says that data is on its way already.
    http2_check(nghttp2_session_resume_data(session_.get(), call.stream_));
    return;
  }
  const Headers headers = response_head();
  const nghttp2_data_provider body = reply_source();
  http2_check(nghttp2_submit_response(session_.get(), call.stream_, headers.data(), headers.size(), &body));
}

/// Answers what is no call of gRPC's.
void Http2Session::refuse(GrpcCall& call, std::string_view http_status) {
  call.answered_ = call.responded_ = true;
  call.status_ = {RpcCode::kUnknown, std::string(http_status)};
  const Headers headers = {header(":status", http_status)};
  http2_check(nghttp2_submit_response(session_.get(), call.stream_, headers.data(), headers.size(), nullptr));
}

void Http2Session::reset(int32_t stream, uint32_t error) {
  http2_check(nghttp2_submit_rst_stream(session_.get(), NGHTTP2_FLAG_NONE, stream, error));
}

/// Gives it up. Its reply goes at once: that the client is told of it may take as long as the client likes.
void Http2Session::cancel(GrpcCall& call) {
  if (std::exchange(call.reset_, true)) return;
  call.answered_ = true;
  call.stop_.request_stop();
  std::exchange(call.reply_, {});
  call.reply_taken_ = 0;
  reset(call.stream_, NGHTTP2_CANCEL);
}

ssize_t Http2Session::frame_reply(GrpcCall& call, size_t room, uint32_t& flags) {
  const size_t left = call.reply_.size() - call.reply_taken_;
  const size_t count = std::min(room, left);
  if (count == left && call.answered_) {
    flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
    send_trailers(call);
  }
  if (count == 0) return call.answered_ ? 0 : NGHTTP2_ERR_DEFERRED;
  flags |= NGHTTP2_DATA_FLAG_NO_COPY;
  return static_cast<ssize_t>(count);
}

void Http2Session::send_trailers(GrpcCall& call) {
  const std::string message = encode_grpc_message(call.status_.message());
  Headers trailers;
  add_status(call.status_, message, trailers);
  http2_check(nghttp2_submit_trailer(session_.get(), call.stream_, trailers.data(), trailers.size()));
}

/// Straight from the reply into what is sent.
void Http2Session::send_reply(GrpcCall& call, const uint8_t* head, size_t bytes) {
  constexpr size_t kHeadBytes = 9;
  out_->append(reinterpret_cast<const char*>(head), kHeadBytes);
  out_->append(call.reply_, call.reply_taken_, bytes);
  call.reply_taken_ += bytes;
  call.reply_bytes_ += bytes;
  if (call.reply_taken_ < call.reply_.size()) return;
  std::exchange(call.reply_, {});
  call.reply_taken_ = 0;
  call.waiting_messages_ = 0;
  call.reply_share_ = ByteBudget::Share(*limits_.calls.received, 0);
  if (!call.unread_.empty()) guard(call, [&] { read_conversation(call); });
}

}  // namespace nacre
