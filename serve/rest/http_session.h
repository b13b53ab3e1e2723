#pragma once

#include <atomic>
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/optional.hpp>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "serve/answer_threads.h"
#include "serve/connection_loop.h"
#include "serve/rest/http_server.h"

namespace nacre {

class HttpSession;
using HttpSessions = std::list<std::shared_ptr<HttpSession>>;

/// What all connections of a server share. All of it is guarded by `mutex`, but for what never changes while
/// the server runs and what is thread-safe itself.
struct HttpShared {
  explicit HttpShared(const AnswerThreads::Options& options) : threads(options) {}

  std::mutex mutex;
  AnswerThreads threads;
  ConnectionLoop loop;
  HttpLimits limits;
  HttpServer::Handlers handlers;
  HttpSessions sessions;            ///< the one that has been silent for longest first
  std::atomic<size_t> buffered{0};  ///< bytes of bodies, until they are answered
  size_t unsent = 0;                ///< bytes of replies that wait for their clients
  std::atomic<bool> draining{false};
  std::vector<char> received = std::vector<char>(size_t{64} << 10);  ///< what is being read
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

/// A connection: receives a request, has it answered, sends the reply, and so on. Its functions need the
/// server's mutex, but for those of Connection, which take it, and those that say otherwise.
class HttpSession final : public Connection {
 public:
  HttpSession(OwnedFd socket, std::string peer, uint64_t id, HttpShared& shared);

  void start() override;
  void on_change(uint32_t change) override;
  ServeClock::time_point on_time(ServeClock::time_point now) override;
  void close() override;

  void close_locked();
  /// Nobody waits for the answer of the request in hand any more.
  void cancel() { stop_.request_stop(); }
  /// The server has begun to drain.
  void drain();
  /// Waits for its client to send.
  [[nodiscard]] bool is_receiving() const { return state_ == State::kIdle || state_ == State::kReceiving; }

 private:
  enum class State : uint8_t { kNew, kIdle, kReceiving, kWorking, kSending, kLingering, kClosed };
  enum class Written : uint8_t { kAll, kPart, kFailed };
  using ErrorCode = boost::system::error_code;
  using Parser = boost::beast::http::request_parser<GrowingBody>;

  /// What came of bytes.
  struct Parsed {
    size_t bytes = 0;      ///< that the parser has taken
    int refused_with = 0;  ///< the status, when the request is refused
    std::string reason;
  };

  [[nodiscard]] std::shared_ptr<HttpSession> shared_self() {
    return std::static_pointer_cast<HttpSession>(shared_from_this());
  }
  void arm(std::chrono::milliseconds time);
  void await_request();
  void next_request();
  void receive();
  void take(std::string_view bytes);
  Parsed parse(std::string_view bytes);
  void check_header(Parsed& parsed);
  void explain(const ErrorCode& error, Parsed& parsed) const;
  void refuse(int status, const std::string& message);
  void dispatch();
  void answer();
  void check_client();
  void prepare(HttpReply reply);
  Written write();
  void after_write(Written written);
  void hold_reply();
  void release_reply();
  void linger();
  void release_body();
  void log(int status, size_t reply_bytes) const;

  HttpShared& shared_;
  OwnedFd socket_;
  const std::string peer_;
  boost::optional<Parser> parser_;
  std::string unparsed_;          ///< received, but not whole enough for the parser, or of the next request
  HttpSessions::iterator place_;  ///< in shared_.sessions, between kNew and kClosed
  State state_ = State::kNew;
  ServeClock::time_point deadline_ = ServeClock::time_point::max();
  bool readable_ = false;  ///< there may be more to read than was read
  bool hung_up_ = false;   ///< the client has closed its end, behind what it has sent
  bool header_checked_ = false;
  bool keep_alive_ = false;
  bool http_1_0_ = false;
  bool overloaded_ = false;  ///< the request is refused: too many wait
  std::atomic<bool> client_gone_{false};
  size_t body_bytes_ = 0;
  size_t discarded_ = 0;
  std::stop_source stop_;
  ServeClock::time_point received_;
  std::optional<HttpRequest> request_;
  size_t kind_ = 0;           ///< of the request: AnswerThreads::Job
  size_t request_bytes_ = 0;  ///< of its body, which goes when it has its answer
  int status_ = 0;
  std::string head_;
  std::string reply_body_;
  size_t sent_ = 0;    ///< bytes of both
  size_t unsent_ = 0;  ///< bytes of both, while they wait for the client
};

}  // namespace nacre
