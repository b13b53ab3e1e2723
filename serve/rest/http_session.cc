#include "serve/rest/http_session.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <sys/socket.h>

#include <array>
#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/rfc7230.hpp>
#include <cerrno>
#include <ctime>
#include <new>
#include <utility>

namespace nacre {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;

constexpr size_t kReadBytes = size_t{64} << 10;
/// What a client whose request was refused may still send before it is cut off, so that it reads the reply.
constexpr size_t kMaxDiscarded = size_t{1} << 20;
constexpr std::chrono::milliseconds kLinger{2000};

std::string_view reason_of(int status) {
  if (status == 499) return "Client Closed Request";
  const boost::beast::string_view text =
      http::obsolete_reason(http::int_to_status(static_cast<unsigned>(status)));
  return {text.data(), text.size()};
}

std::string head_of(const HttpReply& reply, bool keep_alive) {
  std::string head = fmt::format(
      "HTTP/1.1 {} {}\r\nDate: {:%a, %d %b %Y %H:%M:%S} GMT\r\nContent-Type: {}\r\n"
      "Content-Length: {}\r\n",
      reply.status, reason_of(reply.status), fmt::gmtime(std::time(nullptr)), reply.content_type,
      reply.body.size());
  for (const auto& [name, value] : reply.headers) head += fmt::format("{}: {}\r\n", name, value);
  if (!keep_alive) head += "Connection: close\r\n";
  return head + "\r\n";
}

std::string text_of(boost::beast::string_view text) {
  return {text.data(), text.size()};
}

}  // namespace

HttpSession::HttpSession(asio::ip::tcp::socket socket, HttpShared& shared)
    : shared_(shared),
      socket_(std::move(socket)),
      timer_(shared.io),
      buffer_(shared.limits.max_header_bytes + kReadBytes) {
  ErrorCode error;
  const auto endpoint = socket_.remote_endpoint(error);
  if (!error) peer_ = endpoint.address().to_string();
}

void HttpSession::start(HttpSessions::iterator place) {
  place_ = place;
  ErrorCode ignored;
  socket_.set_option(asio::ip::tcp::no_delay(true), ignored);
  next_request();
}

void HttpSession::drain() {
  if (state_ == State::kIdle) close();
  keep_alive_ = false;
}

void HttpSession::close() {
  if (state_ == State::kClosed) return;
  release_body();
  state_ = State::kClosed;
  ErrorCode ignored;
  timer_.cancel();
  socket_.close(ignored);
  stop_.request_stop();
  const auto self = shared_from_this();
  shared_.sessions.erase(place_);
  shared_.closed();
}

void HttpSession::arm(std::chrono::milliseconds time) {
  const uint64_t mine = ++timers_;
  timer_.expires_after(time);
  timer_.async_wait([self = shared_from_this(), mine](const ErrorCode& error) {
    if (!error && mine == self->timers_) self->on_timeout();
  });
}

void HttpSession::on_timeout() {
  if (state_ == State::kReceiving) {
    refuse(408, "the request did not arrive in time");
  } else {
    close();
  }
}

void HttpSession::next_request() {
  parser_.emplace();
  parser_->header_limit(static_cast<uint32_t>(shared_.limits.max_header_bytes));
  parser_->body_limit(shared_.limits.max_body_bytes);
  ++requests_;
  header_checked_ = false;
  client_gone_ = false;
  stop_ = std::stop_source();
  request_.reset();
  shared_.sessions.splice(shared_.sessions.end(), shared_.sessions, place_);
  state_ = State::kIdle;
  arm(shared_.limits.idle);
  if (buffer_.size() == 0) return receive();
  state_ = State::kReceiving;
  arm(shared_.limits.receive);
  parse();
}

void HttpSession::receive() {
  const size_t room = std::min(kReadBytes, buffer_.max_size() - buffer_.size());
  socket_.async_read_some(
      buffer_.prepare(room),
      [self = shared_from_this()](const ErrorCode& error, size_t bytes) { self->on_received(error, bytes); });
}

void HttpSession::on_received(const ErrorCode& error, size_t bytes) {
  if (state_ == State::kLingering) {
    discarded_ += bytes;
    if (error || discarded_ > kMaxDiscarded) return close();
    buffer_.clear();
    return receive();
  }
  if (!is_receiving()) return;  // a timeout was first
  if (error) return close();
  buffer_.commit(bytes);
  if (state_ == State::kIdle) {
    state_ = State::kReceiving;
    arm(shared_.limits.receive);
  }
  try {
    parse();
  } catch (const std::bad_alloc&) {
    close();
  }
}

void HttpSession::parse() {
  while (true) {
    ErrorCode error;
    buffer_.consume(parser_->put(buffer_.data(), error));
    if (error == http::error::need_more) {
      if (buffer_.size() == buffer_.max_size()) return refuse(http::error::buffer_overflow);
      return receive();
    }
    if (error) return refuse(error);
    const size_t body = parser_->get().body().size();
    shared_.buffered += body - body_bytes_;
    body_bytes_ = body;
    if (shared_.buffered > shared_.limits.max_buffered_bytes) {
      return refuse(503, "too many bytes of requests are in hand");
    }
    if (!header_checked_ && parser_->is_header_done()) {
      header_checked_ = true;
      if (!check_header()) return;
    }
    if (parser_->is_done()) return dispatch();
    if (buffer_.size() == 0) return receive();
  }
}

/// False when it has refused the request.
bool HttpSession::check_header() {
  const auto& header = parser_->get();
  if (header.version() < 11 && parser_->chunked()) {
    refuse(400, "Malformed request: chunks in HTTP/1.0");
    return false;
  }
  const std::string expected = text_of(header[http::field::expect]);
  if (expected.empty()) return true;
  if (!boost::beast::iequals(expected, "100-continue")) {
    refuse(417, "Malformed request: unknown Expect");
    return false;
  }
  // A dozen bytes into an empty send buffer.
  constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
  ErrorCode ignored;
  socket_.non_blocking(true, ignored);
  if (!parser_->is_done()) socket_.write_some(asio::buffer(kContinue.data(), kContinue.size()), ignored);
  return true;
}

void HttpSession::refuse(const ErrorCode& error) {
  if (error == http::error::body_limit) {
    return refuse(413, fmt::format("the body is longer than {} bytes", shared_.limits.max_body_bytes));
  }
  const bool overflow = error == http::error::header_limit || error == http::error::buffer_overflow;
  if (overflow && !parser_->is_header_done()) {
    return refuse(431, fmt::format("the header is longer than {} bytes", shared_.limits.max_header_bytes));
  }
  refuse(400, "Malformed request: " + error.message());
}

void HttpSession::refuse(int status, const std::string& message) {
  ErrorCode ignored;
  socket_.cancel(ignored);
  received_ = ServeClock::now();
  keep_alive_ = false;
  send(shared_.handlers.fail(status, message));
}

void HttpSession::dispatch() {
  auto& message = parser_->get();
  timer_.cancel();
  ++timers_;
  state_ = State::kWorking;
  received_ = ServeClock::now();
  keep_alive_ = message.keep_alive() && !shared_.draining;
  request_ = std::make_shared<HttpRequest>(
      HttpRequest{text_of(message.method_string()), text_of(message.target()), std::move(message.body()),
                  text_of(message[http::field::origin]), text_of(message[http::field::content_encoding])});
  CallContext context{received_ + shared_.limits.work, stop_.get_token()};
  if (shared_.handlers.is_quick(*request_)) return send(shared_.handlers.handle(*request_, context));
  watch_client();
  const bool taken =
      shared_.pool->submit([self = shared_from_this(), request = request_, context = std::move(context)] {
        HttpReply reply = self->shared_.handlers.handle(*request, context);
        asio::post(self->shared_.io, [self, reply = std::move(reply)]() mutable {
          if (self->state_ != State::kWorking) return;
          if (!self->client_gone_) return self->send(std::move(reply));
          self->log(499, 0);
          self->close();
        });
      });
  if (!taken) send(shared_.handlers.fail(429, "too many requests wait already"));
}

/// Notices when the client closes its end while its request is being answered.
void HttpSession::watch_client() {
  socket_.async_wait(asio::ip::tcp::socket::wait_read, [self = shared_from_this(),
                                                        mine = requests_](const ErrorCode& error) {
    if (error || mine != self->requests_ || self->state_ != State::kWorking) return;
    char byte = 0;
    const ssize_t peeked = ::recv(self->socket_.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (peeked > 0 || (peeked < 0 && (errno == EAGAIN || errno == EINTR))) return;
    self->client_gone_ = true;
    self->stop_.request_stop();
  });
}

void HttpSession::send(HttpReply reply) {
  if (state_ == State::kWorking) {
    ErrorCode ignored;
    socket_.cancel(ignored);  // the watch
  }
  release_body();
  state_ = State::kSending;
  if (shared_.draining) keep_alive_ = false;
  arm(shared_.limits.send);
  status_ = reply.status;
  head_ = head_of(reply, keep_alive_);
  reply_body_ = std::move(reply.body);
  if (request_ != nullptr && request_->method == "HEAD") reply_body_.clear();
  const std::array<asio::const_buffer, 2> parts{asio::buffer(head_), asio::buffer(reply_body_)};
  asio::async_write(socket_, parts, [self = shared_from_this()](const ErrorCode& error, size_t /*bytes*/) {
    self->on_sent(error);
  });
}

void HttpSession::on_sent(const ErrorCode& error) {
  if (state_ != State::kSending) return;
  log(status_, reply_body_.size());
  reply_body_ = {};
  if (error) return close();
  if (!keep_alive_ || shared_.draining) return linger();
  next_request();
}

/// Lets the client read the reply: closing while it still sends would take it away.
void HttpSession::linger() {
  state_ = State::kLingering;
  ErrorCode error;
  socket_.shutdown(asio::ip::tcp::socket::shutdown_send, error);
  if (error) return close();
  arm(kLinger);
  buffer_.clear();
  discarded_ = 0;
  receive();
}

void HttpSession::release_body() {
  shared_.buffered -= body_bytes_;
  body_bytes_ = 0;
}

void HttpSession::log(int status, size_t reply_bytes) const {
  if (!shared_.handlers.access) return;
  AccessRecord record;
  record.peer = peer_;
  if (request_ != nullptr) {
    record.method = request_->method;
    record.target = request_->target;
    record.request_bytes = request_->body.size();
  }
  record.status = status;
  record.reply_bytes = reply_bytes;
  record.latency = std::chrono::duration_cast<std::chrono::microseconds>(ServeClock::now() - received_);
  shared_.handlers.access(record);
}

}  // namespace nacre
