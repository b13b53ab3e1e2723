#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/optional.hpp>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <stop_token>
#include <string>

#include "serve/rest/http_server.h"
#include "serve/worker_pool.h"

namespace nacre {

class HttpSession;
using HttpSessions = std::list<std::shared_ptr<HttpSession>>;

/// What all connections of a server share. Only its thread touches it, but for what is thread-safe itself.
struct HttpShared {
  boost::asio::io_context io{1};
  HttpLimits limits;
  HttpServer::Handlers handlers;
  std::unique_ptr<WorkerPool> pool;
  HttpSessions sessions;  ///< the one that has been silent for longest first
  size_t buffered = 0;    ///< bytes of bodies, until they are answered
  bool draining = false;
  std::function<void()> closed;  ///< called when `sessions` has lost one
};

/// A request's body as it comes: never reserves what is only declared.
struct GrowingBody {
  using value_type = std::string;

  class reader {  // NOLINT(readability-identifier-naming): Beast's name
   public:
    template <bool IsRequest, typename Fields>
    reader(boost::beast::http::header<IsRequest, Fields>& /*header*/, value_type& body) : body_(body) {}
    void init(const boost::optional<std::uint64_t>& /*declared*/, boost::beast::error_code& error) {
      error = {};
    }
    template <typename Buffers>
    size_t put(const Buffers& buffers, boost::beast::error_code& error) {
      error = {};
      size_t bytes = 0;
      for (auto it = boost::asio::buffer_sequence_begin(buffers);
           it != boost::asio::buffer_sequence_end(buffers); ++it) {
        const boost::asio::const_buffer part = *it;
        body_.append(static_cast<const char*>(part.data()), part.size());
        bytes += part.size();
      }
      return bytes;
    }
    void finish(boost::beast::error_code& error) { error = {}; }

   private:
    value_type& body_;
  };
};

/// A connection: receives a request, has it answered, sends the reply, and so on. All but the answering
/// happens on the server's thread.
class HttpSession : public std::enable_shared_from_this<HttpSession> {
 public:
  HttpSession(boost::asio::ip::tcp::socket socket, HttpShared& shared);

  /// Begins; `place` is its own in shared.sessions.
  void start(HttpSessions::iterator place);
  /// Closes it at once, or when the request in hand has its reply.
  void drain();
  void close();
  /// Waits for its client to send.
  [[nodiscard]] bool is_receiving() const { return state_ == State::kIdle || state_ == State::kReceiving; }

 private:
  enum class State : uint8_t { kIdle, kReceiving, kWorking, kSending, kLingering, kClosed };
  using ErrorCode = boost::system::error_code;
  using Parser = boost::beast::http::request_parser<GrowingBody>;

  void arm(std::chrono::milliseconds time);
  void on_timeout();
  void next_request();
  void receive();
  void on_received(const ErrorCode& error, size_t bytes);
  void parse();
  bool check_header();
  void refuse(const ErrorCode& error);
  void refuse(int status, const std::string& message);
  void dispatch();
  void watch_client();
  void send(HttpReply reply);
  void on_sent(const ErrorCode& error);
  void linger();
  void release_body();
  void log(int status, size_t reply_bytes) const;

  HttpShared& shared_;
  boost::asio::ip::tcp::socket socket_;
  boost::asio::steady_timer timer_;
  boost::beast::flat_buffer buffer_;
  boost::optional<Parser> parser_;
  HttpSessions::iterator place_;
  State state_ = State::kIdle;
  uint64_t requests_ = 0;  ///< that were begun: tells what was asked for an earlier one
  uint64_t timers_ = 0;
  bool header_checked_ = false;
  bool keep_alive_ = false;
  bool client_gone_ = false;
  size_t body_bytes_ = 0;
  size_t discarded_ = 0;
  std::string peer_;
  std::stop_source stop_;
  ServeClock::time_point received_;
  std::shared_ptr<HttpRequest> request_;
  int status_ = 0;
  std::string head_;
  std::string reply_body_;
};

}  // namespace nacre
