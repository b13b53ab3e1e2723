#include "serve/grpc/http2_session.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>
#include <new>
#include <vector>

namespace nacre {
namespace {

/// Windows of flow control: what a client may send before it hears from the server again, so that a large
/// request does not wait for round trips. What is held is bounded elsewhere (GrpcCall::Limits::received).
constexpr int32_t kStreamWindow = 4 << 20;
constexpr int32_t kConnectionWindow = 16 << 20;
/// A call counts as so many bytes of requests beside its messages.
constexpr size_t kCallBytes = size_t{1} << 10;
/// Answers of a conversation that wait for their client, beyond which questions wait too; and how much of
/// these.
constexpr size_t kMaxConversation = size_t{64} << 10;
/// Of the path of a method that is not known, what the client is told.
constexpr size_t kMaxToldPath = 256;
/// Of a message's bytes, what gives it a second more.
constexpr size_t kSlowestRate = size_t{256} << 10;
/// Resets by the client at once, and in a second, beyond which it is taken for an attack (CVE-2023-44487).
constexpr uint64_t kResetBurst = 10'000;
constexpr uint64_t kResetRate = 1'000;

using Options = std::unique_ptr<nghttp2_option, void (*)(nghttp2_option*)>;

Options session_options() {
  nghttp2_option* raw = nullptr;
  if (nghttp2_option_new(&raw) != 0) throw std::bad_alloc();
  Options options(raw, nghttp2_option_del);
  nghttp2_option_set_no_closed_streams(raw, 1);
  nghttp2_option_set_stream_reset_rate_limit(raw, kResetBurst, kResetRate);
  return options;
}

}  // namespace

Http2Session::Http2Session(const GrpcMethods& methods, const Limits& limits,
                           std::weak_ptr<GrpcReplySink> sink, std::string peer)
    : methods_(methods),
      limits_(limits),
      sink_(std::move(sink)),
      peer_(std::move(peer)),
      session_(nullptr, nghttp2_session_del) {
  const Options options = session_options();
  nghttp2_session* raw = nullptr;
  if (nghttp2_session_server_new2(&raw, callbacks(), this, options.get()) != 0) throw std::bad_alloc();
  session_.reset(raw);
  const std::array<nghttp2_settings_entry, 4> settings = {
      {{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, static_cast<uint32_t>(limits_.max_calls)},
       {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kStreamWindow},
       {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, static_cast<uint32_t>(limits_.max_header_bytes)},
       {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1}}};
  http2_check(nghttp2_submit_settings(raw, NGHTTP2_FLAG_NONE, settings.data(), settings.size()));
  http2_check(nghttp2_session_set_local_window_size(raw, NGHTTP2_FLAG_NONE, 0, kConnectionWindow));
}

Http2Session::~Http2Session() {
  for (const auto& [stream, call] : calls_) {
    call->stop_.request_stop();
    tell_access(*call);
  }
}

bool Http2Session::receive(std::string_view bytes) {
  return nghttp2_session_mem_recv(session_.get(), reinterpret_cast<const uint8_t*>(bytes.data()),
                                  bytes.size()) >= 0;
}

bool Http2Session::fill(std::string& out, size_t most) {
  out_ = &out;
  most_out_ = most;
  ssize_t count = 0;
  while (out.size() < most) {
    const uint8_t* bytes = nullptr;
    count = nghttp2_session_mem_send(session_.get(), &bytes);
    if (count <= 0) break;
    out.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(count));
  }
  out_ = nullptr;
  return count >= 0;
}

bool Http2Session::is_over() const {
  return nghttp2_session_want_read(session_.get()) == 0 && nghttp2_session_want_write(session_.get()) == 0;
}

// What the client sends.

void Http2Session::begin_call(int32_t stream) {
  const std::shared_ptr<GrpcReplySink> sink = sink_.lock();
  // Calls whose client has gone count until they have noticed it: or a client could begin and reset calls
  // faster than they end.
  if (sink == nullptr || has_gone_away() || sink->live_calls >= 2 * limits_.max_calls)
    return reset(stream, NGHTTP2_REFUSED_STREAM);
  try {
    const auto call = std::make_shared<GrpcCall>(sink, stream, limits_.calls);
    if (!call->share_.grow(kCallBytes)) return reset(stream, NGHTTP2_REFUSED_STREAM);
    calls_[stream] = call;
    nghttp2_session_set_stream_user_data(session_.get(), stream, call.get());
    look_by(transfer_ends(*call));
  } catch (const std::bad_alloc&) {
    reset(stream, NGHTTP2_REFUSED_STREAM);
  }
}

void Http2Session::take_header(GrpcCall& call, std::string_view name, std::string_view value) {
  constexpr size_t kOverhead = 32;  // as HTTP/2 counts
  call.header_bytes_ += name.size() + value.size() + kOverhead;
  if (call.header_bytes_ > limits_.max_header_bytes) return;
  // Each is looked at at once, and not kept: a client may say it in a byte by a reference to the one before.
  if (name == ":path") {
    const auto method = methods_.find(std::string(value));
    call.method_ = method == methods_.end() ? nullptr : &method->second;
    call.path_ = value.substr(0, kMaxToldPath);
  } else if (name == ":method") {
    call.is_post_ = value == "POST";
  } else if (name == "content-type") {
    call.is_grpc_ = is_grpc_content_type(value);
  } else if (name == "grpc-timeout") {
    call.timeout_ = parse_grpc_timeout(value);
    call.has_bad_timeout_ = !call.timeout_.has_value();
  } else if (name == "grpc-encoding") {
    call.encoding_ = parse_grpc_encoding(value);
  } else if (name == "te") {
    call.has_te_ = value == "trailers";
  }
}

void Http2Session::take_request_head(GrpcCall& call) {
  if (call.answered_) return;
  if (call.header_bytes_ > limits_.max_header_bytes)
    return answer(call, {RpcCode::kResourceExhausted,
                         fmt::format("the headers are longer than {} bytes", limits_.max_header_bytes)});
  if (!call.is_post_) return refuse(call, "405");
  if (!call.is_grpc_) return refuse(call, "415");
  if (!call.has_te_) return answer(call, {RpcCode::kInternal, "te: trailers is missing"});
  if (call.has_bad_timeout_) return answer(call, {RpcCode::kInternal, "grpc-timeout is none"});
  if (call.method_ == nullptr) return answer(call, {RpcCode::kUnimplemented, "no method " + call.path_});
  constexpr std::chrono::nanoseconds kFar = std::chrono::hours(24 * 365);
  if (call.timeout_.value_or(kFar) < kFar) call.deadline_ = call.begun_ + *call.timeout_;
  look_by(call.deadline_);
  // Questions are short, and are not counted for long.
  if (call.method_->converse) {
    const size_t most = std::min(limits_.calls.max_message_bytes, kMaxConversation);
    call.reader_ = GrpcMessageReader(most, *limits_.calls.received);
  }
}

void Http2Session::take_data(GrpcCall& call, std::string_view bytes) {
  if (call.answered_) return;
  call.received_bytes_ += bytes.size();
  call.request_bytes_ += bytes.size();
  guard(call, [&] { call.method_->take ? take_message(call, bytes) : take_conversation(call, bytes); });
}

/// Of a call that has one message.
void Http2Session::take_message(GrpcCall& call, std::string_view bytes) {
  while (!bytes.empty()) {
    if (call.has_request_) return answer(call, {RpcCode::kInternal, "more than one request message"});
    const auto taken = call.reader_.take(bytes);
    if (!taken.ok()) return answer(call, taken.status());
    bytes.remove_prefix(*taken);
    if (!call.reader_.is_whole()) continue;
    call.request_ = call.reader_.next();
    call.has_request_ = true;
  }
}

void Http2Session::take_conversation(GrpcCall& call, std::string_view bytes) {
  if (!call.unread_share_.grow(bytes.size())) return answer(call, budget_is_used_up());
  if (call.reader_.is_between() && call.unread_.empty() && call.reply_.empty()) begin_message(call);
  call.unread_.append(bytes);
  read_conversation(call);
  if (call.unread_.size() > kMaxConversation)
    answer(call, {RpcCode::kResourceExhausted, "too many questions wait"});
}

void Http2Session::read_conversation(GrpcCall& call) {
  size_t at = 0;
  while (!call.answered_ && at < call.unread_.size() && call.reply_.size() < kMaxConversation) {
    const auto taken = call.reader_.take(std::string_view(call.unread_).substr(at));
    if (!taken.ok()) return answer(call, taken.status());
    at += *taken;
    if (!call.reader_.is_whole()) continue;
    const GrpcMessage message = call.reader_.next();
    std::string storage;
    ByteBudget::Share share(*limits_.calls.received, 0);
    const auto content = grpc_content(message, call.encoding_, kMaxConversation, storage, share);
    if (!content.ok()) return answer(call, content.status());
    std::string framed;
    if (RpcStatus said = call.method_->converse(*content, framed); !said.ok()) return answer(call, said);
    if (!call.reply_share_.grow(framed.size())) return answer(call, budget_is_used_up());
    call.reply_ += framed;
    respond(call);
    begin_message(call);
  }
  call.unread_.erase(0, at);
  call.unread_share_.shrink(at);
  if (!call.request_ended_ || call.answered_ || !call.unread_.empty()) return;
  answer(call, call.reader_.is_between()
                   ? RpcStatus()
                   : RpcStatus(RpcCode::kInternal, "the request ends within a message"));
}

void Http2Session::begin_message(GrpcCall& call) {
  call.begun_ = ServeClock::now();
  call.received_bytes_ = 0;
  look_by(call.begun_ + limits_.transfer);
}

void Http2Session::end_request(GrpcCall& call) {
  call.request_ended_ = true;
  call.asked_ = ServeClock::now();
  if (call.answered_) return;
  guard(call, [&] {
    if (!call.method_->take) return read_conversation(call);
    if (!call.reader_.is_between())
      return answer(call, {RpcCode::kInternal, "the request ends within a message"});
    if (!call.has_request_) return answer(call, {RpcCode::kInternal, "the request has no message"});
    call.method_->take(call.shared_from_this());
  });
}

void Http2Session::close_call(int32_t stream) {
  const auto found = calls_.find(stream);
  if (found == calls_.end()) return;
  tell_access(*found->second);
  found->second->answered_ = true;
  found->second->stop_.request_stop();
  calls_.erase(found);
}

/// Of a call that is over: one that has no answer yet has been given up.
void Http2Session::tell_access(const GrpcCall& call) const {
  if (limits_.access == nullptr || !*limits_.access) return;
  const bool answered = call.answered_ && !call.reset_;
  const auto since = call.request_ended_ ? ServeClock::now() - call.asked_ : ServeClock::duration::zero();
  try {
    (*limits_.access)({peer_, "gRPC", call.path_,
                       static_cast<int>(answered ? call.status_.code() : RpcCode::kCancelled),
                       call.request_bytes_, call.reply_bytes_,
                       std::chrono::duration_cast<std::chrono::microseconds>(since)});
  } catch (const std::bad_alloc&) {  // the calls matter more
  }
}

// Time.

/// When its request must be there, or its reply be taken; of a conversation, the message or the answers that
/// have begun.
ServeClock::time_point Http2Session::transfer_ends(const GrpcCall& call) const {
  const bool converses = call.method_ != nullptr && call.method_->converse;
  const bool rests = call.request_ended_ || (converses && call.reader_.is_between());
  if (!call.answered_ && rests && !(converses && !call.reply_.empty())) return ServeClock::time_point::max();
  const size_t bytes = call.answered_ ? call.reply_.size() : call.received_bytes_;
  return call.begun_ + limits_.transfer + std::chrono::seconds(bytes / kSlowestRate);
}

/// When it is looked after next: once it has its answer, its deadline means nothing.
ServeClock::time_point Http2Session::call_ends(const GrpcCall& call) const {
  if (call.reset_) return ServeClock::time_point::max();
  return call.answered_ ? transfer_ends(call) : std::min(call.deadline_, transfer_ends(call));
}

ServeClock::time_point Http2Session::on_time(ServeClock::time_point now) {
  if (now < deadline_) return deadline_;
  deadline_ = ServeClock::time_point::max();
  if (leaving_ == Leaving::kAnnounced) leaving_ends_ <= now ? say_last_call() : look_by(leaving_ends_);
  std::vector<std::shared_ptr<GrpcCall>> late;
  for (const auto& [stream, call] : calls_)
    if (call_ends(*call) <= now) late.push_back(call);
  for (const auto& call : late) {
    if (call->answered_) {
      cancel(*call);
    } else {
      const bool passed = call->deadline_ <= now;
      answer(*call, {RpcCode::kDeadlineExceeded,
                     passed ? "the deadline has passed" : "the request did not arrive in time"});
    }
  }
  for (const auto& [stream, call] : calls_) look_by(call_ends(*call));
  return deadline_;
}

void Http2Session::go_away() {
  if (leaving_ != Leaving::kNo) return;
  leaving_ = Leaving::kAnnounced;
  leaving_ends_ = ServeClock::now() + limits_.goaway_grace;
  look_by(leaving_ends_);
  http2_check(nghttp2_submit_shutdown_notice(session_.get()));
  end_conversations();
}

void Http2Session::ask_for_echo() {
  http2_check(nghttp2_submit_ping(session_.get(), NGHTTP2_FLAG_NONE, nullptr));
}

void Http2Session::say_last_call() {
  if (leaving_ != Leaving::kAnnounced) return;
  leaving_ = Leaving::kGone;
  http2_check(nghttp2_submit_goaway(session_.get(), NGHTTP2_FLAG_NONE,
                                    nghttp2_session_get_last_proc_stream_id(session_.get()), NGHTTP2_NO_ERROR,
                                    nullptr, 0));
  end_conversations();
}

void Http2Session::end_conversations() {
  for (const auto& [stream, call] : calls_)
    if (call->method_ != nullptr && call->method_->converse && !call->answered_)
      answer(*call, {RpcCode::kUnavailable, "the server stops"});
}

void Http2Session::cancel_calls() {
  for (const auto& [stream, call] : calls_) {
    call->stop_.request_stop();
    cancel(*call);
  }
}

}  // namespace nacre
