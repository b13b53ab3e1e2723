#include "serve/rest/http_session.h"

#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/rfc7230.hpp>
#include <cerrno>
#include <functional>
#include <new>
#include <utility>

#include "serve/rest/http_head.h"

namespace nacre {
namespace {

namespace http = boost::beast::http;

/// What a request may have that the parser cannot take in yet, beyond the longest header.
constexpr size_t kUnparsedBytes = size_t{64} << 10;
/// What a client whose request was refused may still send before it is cut off, so that it reads the reply.
constexpr size_t kMaxDiscarded = size_t{1} << 20;
constexpr std::chrono::milliseconds kLinger{2000};
/// That one connection brings before it is another's turn.
constexpr size_t kTurnBytes = size_t{1} << 20;
/// Of the body of a request that may be answered within another.
constexpr size_t kShortBytes = size_t{64} << 10;

std::string text_of(boost::beast::string_view text) {
  return {text.data(), text.size()};
}

}  // namespace

HttpSession::HttpSession(OwnedFd socket, std::string peer, uint64_t id, HttpShared& shared)
    : Connection(id), shared_(shared), socket_(std::move(socket)), peer_(std::move(peer)) {}

void HttpSession::start() {
  const std::lock_guard lock(shared_.mutex);
  place_ = shared_.sessions.insert(shared_.sessions.end(), shared_self());
  next_request();
  if (shared_.loop.poller().add(socket_.get(), id()) != 0) close_locked();
}

void HttpSession::close() {
  const std::lock_guard lock(shared_.mutex);
  close_locked();
}

void HttpSession::close_locked() {
  if (state_ == State::kClosed) return;
  release_body();
  release_reply();
  socket_.reset();
  stop_.request_stop();
  const auto self = shared_from_this();
  if (std::exchange(state_, State::kClosed) != State::kNew) shared_.sessions.erase(place_);
  shared_.loop.remove(*this);
}

void HttpSession::arm(std::chrono::milliseconds time) {
  deadline_ = ServeClock::now() + time;
  shared_.loop.wake_at(deadline_);
}

ServeClock::time_point HttpSession::on_time(ServeClock::time_point now) {
  const std::lock_guard lock(shared_.mutex);
  if (deadline_ > now || state_ == State::kClosed) return deadline_;
  if (state_ == State::kReceiving) {
    refuse(408, "the request did not arrive in time");
    return deadline_;
  }
  if (state_ == State::kIdle) receive();  // what has come since, but nobody had time to take in
  if (deadline_ <= now) close_locked();
  return deadline_;
}

void HttpSession::on_change(uint32_t change) {
  const std::lock_guard lock(shared_.mutex);
  if ((change & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) hung_up_ = true;
  if (state_ == State::kSending && (change & (EPOLLOUT | EPOLLERR)) != 0) after_write(write());
  if (is_receiving() || state_ == State::kLingering) return receive();
  readable_ = true;
  if (state_ == State::kWorking && hung_up_) check_client();
}

void HttpSession::await_request() {
  state_ = State::kIdle;
  arm(shared_.draining ? std::min(shared_.limits.drain_grace, shared_.limits.idle) : shared_.limits.idle);
}

void HttpSession::drain() {
  if (state_ == State::kIdle) await_request();
}

void HttpSession::next_request() {
  parser_.emplace();
  parser_->header_limit(static_cast<uint32_t>(shared_.limits.max_header_bytes));
  parser_->body_limit(shared_.limits.max_body_bytes);
  header_checked_ = false;
  client_gone_ = false;
  stop_ = std::stop_source();
  request_.reset();
  shared_.sessions.splice(shared_.sessions.end(), shared_.sessions, place_);
  await_request();
  if (!unparsed_.empty()) take({});
  if (is_receiving() && (readable_ || hung_up_)) receive();
}

void HttpSession::receive() {
  readable_ = false;
  for (size_t taken = 0; is_receiving() || state_ == State::kLingering;) {
    if (taken >= kTurnBytes) return shared_.loop.poller().tell_again(socket_.get(), id());
    const ssize_t count = ::recv(socket_.get(), shared_.received.data(), shared_.received.size(), 0);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && would_block(errno)) return;
    if (count <= 0) return close_locked();
    const std::string_view bytes(shared_.received.data(), static_cast<size_t>(count));
    taken += bytes.size();
    if (state_ == State::kLingering) {
      discarded_ += bytes.size();
      if (discarded_ > kMaxDiscarded) return close_locked();
    } else {
      take(bytes);
    }
    // Less than there is room for: that was all, and what comes later is a change. The end is told of but
    // once.
    if (bytes.size() < shared_.received.size() && !hung_up_) return;
  }
  readable_ = true;
}

/// Takes `bytes` in behind those that are left from before.
void HttpSession::take(std::string_view bytes) {
  if (state_ == State::kIdle) {
    state_ = State::kReceiving;
    arm(shared_.limits.receive);
  }
  Parsed parsed;
  if (unparsed_.empty()) {
    parsed = parse(bytes);
    unparsed_.assign(bytes.substr(parsed.bytes));
  } else {
    unparsed_.append(bytes);
    parsed = parse(unparsed_);
    unparsed_.erase(0, parsed.bytes);
  }
  if (parsed.refused_with != 0) return refuse(parsed.refused_with, parsed.reason);
  if (parser_->is_done()) dispatch();
}

HttpSession::Parsed HttpSession::parse(std::string_view bytes) {
  Parsed parsed;
  while (parsed.bytes < bytes.size() && parsed.refused_with == 0) {
    const std::string_view rest = bytes.substr(parsed.bytes);
    ErrorCode error;
    parsed.bytes += parser_->put(boost::asio::const_buffer(rest.data(), rest.size()), error);
    if (error == http::error::need_more) {
      if (bytes.size() - parsed.bytes >= shared_.limits.max_header_bytes + kUnparsedBytes)
        explain(http::error::buffer_overflow, parsed);
      break;
    }
    if (error) {
      explain(error, parsed);
      break;
    }
    const size_t body = parser_->get().body().size();
    shared_.buffered += body - body_bytes_;
    body_bytes_ = body;
    if (shared_.buffered > shared_.limits.max_buffered_bytes) {
      parsed.refused_with = 503;
      parsed.reason = "too many bytes of requests are in hand";
      break;
    }
    if (!header_checked_ && parser_->is_header_done()) {
      header_checked_ = true;
      check_header(parsed);
    }
    if (parser_->is_done()) break;
  }
  return parsed;
}

void HttpSession::check_header(Parsed& parsed) {
  const auto& header = parser_->get();
  if (header.version() < 11 && parser_->chunked()) {
    parsed.refused_with = 400;
    parsed.reason = "Malformed request: chunks in HTTP/1.0";
    return;
  }
  const std::string expected = text_of(header[http::field::expect]);
  if (expected.empty()) return;
  if (!boost::beast::iequals(expected, "100-continue")) {
    parsed.refused_with = 417;
    parsed.reason = "Malformed request: unknown Expect";
    return;
  }
  // A dozen bytes into an empty send buffer.
  constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
  if (!parser_->is_done()) {
    static_cast<void>(::send(socket_.get(), kContinue.data(), kContinue.size(), MSG_NOSIGNAL));
  }
}

void HttpSession::explain(const ErrorCode& error, Parsed& parsed) const {
  const bool overflow = error == http::error::header_limit || error == http::error::buffer_overflow;
  if (error == http::error::body_limit) {
    parsed.refused_with = 413;
    parsed.reason = fmt::format("the body is longer than {} bytes", shared_.limits.max_body_bytes);
  } else if (overflow && !parser_->is_header_done()) {
    parsed.refused_with = 431;
    parsed.reason = fmt::format("the header is longer than {} bytes", shared_.limits.max_header_bytes);
  } else {
    parsed.refused_with = 400;
    parsed.reason = "Malformed request: " + error.message();
  }
}

void HttpSession::refuse(int status, const std::string& message) {
  received_ = ServeClock::now();
  keep_alive_ = false;
  prepare(shared_.handlers.fail(status, message));
  after_write(write());
}

void HttpSession::dispatch() {
  auto& message = parser_->get();
  keep_alive_ = message.keep_alive() && !shared_.draining;
  http_1_0_ = message.version() < 11;
  request_.emplace(HttpRequest{text_of(message.method_string()), text_of(message.target()),
                               std::move(message.body()), text_of(message[http::field::origin]),
                               text_of(message[http::field::content_encoding])});
  state_ = State::kWorking;
  deadline_ = ServeClock::time_point::max();
  received_ = ServeClock::now();
  kind_ = std::hash<std::string>()(request_->target);
  AnswerThreads::Job job{[self = shared_self()] { self->answer(); },
                         request_->body.size() <= kShortBytes && request_->content_encoding.empty(),
                         shared_.handlers.is_quick(*request_), kind_};
  request_bytes_ = request_->body.size();
  overloaded_ = false;
  if (!shared_.threads.submit(std::move(job))) {
    overloaded_ = true;
    job.is_quick = true;  // NOLINT(bugprone-use-after-move): it was not taken
    shared_.threads.submit(std::move(job));
  }
  if (hung_up_) check_client();
}

/// Notices when the client has closed its end while its request is being answered.
void HttpSession::check_client() {
  char byte = 0;
  const ssize_t peeked = ::recv(socket_.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  if (peeked > 0 || (peeked < 0 && (would_block(errno) || errno == EINTR))) return;
  client_gone_ = true;
  stop_.request_stop();
}

/// Has the request answered, and sends the reply. For one thread, without the mutex: until it has taken it
/// again nobody else touches the request, the reply or the socket.
void HttpSession::answer() {
  Written written = Written::kFailed;
  try {
    bool postponed = false;
    const auto other_calls = [this](bool alike) {
      return shared_.threads.answer_another(alike ? std::optional(kind_) : std::nullopt);
    };
    HttpReply reply = overloaded_
                          ? shared_.handlers.fail(429, "too many requests wait already")
                          : shared_.handlers.handle(
                                *request_, {received_ + shared_.limits.work, stop_.get_token(), other_calls,
                                            CallContext::is_nested() ? &postponed : nullptr});
    if (postponed) return shared_.threads.submit_again([self = shared_self()] { self->answer(); });
    if (client_gone_) {
      log(499, 0);
    } else {
      prepare(std::move(reply));
      written = write();
    }
  } catch (const std::bad_alloc&) {
    written = Written::kFailed;  // the connection is lost, the others go on
  }
  const std::lock_guard lock(shared_.mutex);
  try {
    // The client may have made room, and that have been told, before anybody waited for it.
    if (written == Written::kPart) written = write();
    after_write(written);
  } catch (const std::bad_alloc&) {
    close_locked();
  }
}

void HttpSession::prepare(HttpReply reply) {
  release_body();
  if (request_.has_value()) std::string().swap(request_->body);
  if (shared_.draining) keep_alive_ = false;
  status_ = reply.status;
  head_ = head_of(reply, keep_alive_, http_1_0_);
  reply_body_ = std::move(reply.body);
  if (request_.has_value() && request_->method == "HEAD") reply_body_.clear();
  sent_ = 0;
}

HttpSession::Written HttpSession::write() {
  while (sent_ < head_.size() + reply_body_.size()) {
    const size_t of_head = std::min(sent_, head_.size());
    const size_t of_body = sent_ - of_head;
    std::array<iovec, 2> parts{iovec{head_.data() + of_head, head_.size() - of_head},
                               iovec{reply_body_.data() + of_body, reply_body_.size() - of_body}};
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = parts.size();
    const ssize_t count = ::sendmsg(socket_.get(), &message, MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      if (would_block(errno)) return Written::kPart;
      break;
    }
    sent_ += static_cast<size_t>(count);
  }
  const bool all = sent_ == head_.size() + reply_body_.size();
  log(status_, reply_body_.size());
  return all ? Written::kAll : Written::kFailed;
}

void HttpSession::after_write(Written written) {
  if (written == Written::kFailed) return close_locked();
  if (written == Written::kPart) {
    if (state_ != State::kSending) hold_reply();
    return;
  }
  release_reply();
  std::string().swap(reply_body_);
  if (!keep_alive_) return linger();
  next_request();
}

/// Waits for the client to take the reply. When too much waits, those who have been at it for longest go.
void HttpSession::hold_reply() {
  state_ = State::kSending;
  arm(shared_.limits.send);
  unsent_ = head_.size() + reply_body_.size();
  shared_.unsent += unsent_;
  while (shared_.unsent > shared_.limits.max_unsent_bytes) {
    HttpSession* slowest = nullptr;
    for (const auto& session : shared_.sessions) {
      if (session->unsent_ == 0 || session.get() == this) continue;
      if (slowest == nullptr || session->deadline_ < slowest->deadline_) slowest = session.get();
    }
    if (slowest == nullptr) return;
    slowest->close_locked();
  }
}

void HttpSession::release_reply() {
  shared_.unsent -= unsent_;
  unsent_ = 0;
}

/// Lets the client read the reply: closing while it still sends would take it away.
void HttpSession::linger() {
  if (::shutdown(socket_.get(), SHUT_WR) != 0) return close_locked();
  state_ = State::kLingering;
  arm(kLinger);
  unparsed_.clear();
  discarded_ = 0;
  if (readable_ || hung_up_) receive();
}

void HttpSession::release_body() {
  shared_.buffered -= body_bytes_;
  body_bytes_ = 0;
}

void HttpSession::log(int status, size_t reply_bytes) const {
  if (!shared_.handlers.access) return;
  AccessRecord record;
  record.peer = peer_;
  if (request_.has_value()) {
    record.method = request_->method;
    record.target = request_->target;
    record.request_bytes = request_bytes_;
  }
  record.status = status;
  record.reply_bytes = reply_bytes;
  record.latency = std::chrono::duration_cast<std::chrono::microseconds>(ServeClock::now() - received_);
  shared_.handlers.access(record);
}

}  // namespace nacre
