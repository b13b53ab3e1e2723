#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "engine/status.h"
#include "serve/access_record.h"
#include "serve/call_context.h"
#include "serve/rest/http_message.h"

namespace nacre {

/// What clients may make the server hold, and for how long.
struct HttpLimits {
  size_t max_header_bytes = size_t{32} << 10;   ///< request line and headers; more is 431
  size_t max_body_bytes = size_t{64} << 20;     ///< of one request; more is 413
  size_t max_buffered_bytes = size_t{1} << 30;  ///< of all bodies that are being received; more is 503
  size_t max_connections = 8192;                ///< at most; fewer when the process may open fewer files
  /// Without a request: longer than proxies keep a connection, who would else send one as it is closed.
  std::chrono::milliseconds idle{620'000};
  std::chrono::milliseconds receive{30000};  ///< from a request's first byte to its last
  std::chrono::milliseconds send{30000};     ///< to take a reply
  std::chrono::milliseconds work{30000};     ///< the deadline of a request's answer
  /// Once the server drains, without a request: one may be on its way, and closing would reset it.
  std::chrono::milliseconds drain_grace{200};
  /// Of all replies that wait for their clients; beyond it those who have been taking theirs for longest are
  /// cut off.
  size_t max_unsent_bytes = size_t{256} << 20;
};

/// An HTTP/1.1 server. The thread that finds a whole request answers it (AnswerThreads). A connection that is
/// slow costs a few hundred bytes and no thread; one that is too slow is closed, and so is the one that has
/// been silent for longest when there are too many.
class HttpServer {
 public:
  struct Options {
    std::string address = "0.0.0.0";
    uint16_t port = 0;                       ///< 0: any
    size_t threads = 1;                      ///< requests that are answered at the same time
    size_t max_waiting = 1024;               ///< requests that wait for a thread; more are 429
    std::atomic<size_t>* waiting = nullptr;  ///< counts them; may be null
    HttpLimits limits;
  };
  struct Handlers {
    /// True when `handle` is so quick for it that it is answered before all that wait, beside all that
    /// compute.
    std::function<bool(const HttpRequest&)> is_quick;
    /// Answers a request; the context is cancelled when the client goes.
    std::function<HttpReply(const HttpRequest&, const CallContext&)> handle;
    /// Says an error of the protocol, or of too many requests, in the handler's format.
    std::function<HttpReply(int status, const std::string& message)> fail;
    AccessSink access;  ///< may be empty
  };

  /// Listens. Errors are `ADDRESS:PORT: reason` (kIo, kUsage).
  static Result<std::unique_ptr<HttpServer>> start(const Options& options, Handlers handlers);
  /// Closes all connections, whatever they do.
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  /// The port that it listens to.
  [[nodiscard]] uint16_t port() const;
  /// Connections that are open now.
  [[nodiscard]] size_t connections() const;
  /// Takes no new connections, and waits until those that are open have closed; not beyond the deadline. Each
  /// reply is its connection's last, and says so; connections without a request stay open for
  /// HttpLimits::drain_grace. Once.
  void drain(ServeClock::time_point deadline);

 private:
  class Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace nacre
