#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "engine/status.h"
#include "serve/access_record.h"
#include "serve/answer_threads.h"
#include "serve/call_context.h"
#include "serve/grpc/grpc_call.h"
#include "serve/grpc/grpc_connection.h"
#include "serve/grpc/tls.h"

namespace nacre {

/// A gRPC server without services: HTTP/2 with prior knowledge, or over TLS, for whatever methods there are.
/// Calls are received on the threads of `threads`, to which methods hand them. Thread-safe.
class GrpcTransport {
 public:
  struct Options {
    std::string address = "0.0.0.0";  ///< a name, an IPv4 address or an IPv6 address
    uint16_t port = 0;                ///< 0: any that is free
    size_t max_connections = 8192;    ///< more are closed at once
    GrpcLimits limits;
    std::optional<SslOptions> ssl;
    AccessSink access;  ///< of calls, when they are over
  };

  /// Listens, and starts `threads`, which must outlive it. Errors are `ADDRESS:PORT: reason` (kIo), also for
  /// keys that are none.
  static Result<std::unique_ptr<GrpcTransport>> start(const Options& options, GrpcMethods methods,
                                                      AnswerThreads& threads);
  /// Drains with no time.
  ~GrpcTransport() { drain(ServeClock::now()); }
  GrpcTransport(const GrpcTransport&) = delete;
  GrpcTransport& operator=(const GrpcTransport&) = delete;

  [[nodiscard]] uint16_t port() const { return shared_.loop.port(); }
  /// Connections that are open now.
  [[nodiscard]] size_t connections() const { return shared_.loop.size(); }
  /// Takes no more connections, ends those that are open (Http2Session::go_away), waits until all calls have
  /// their answers, and ends the threads; at the deadline calls are cancelled.
  void drain(ServeClock::time_point deadline);

 private:
  GrpcTransport(const GrpcLimits& limits, AnswerThreads& threads) : shared_(limits), threads_(threads) {}
  Status listen(const Options& options);

  GrpcShared shared_;
  AnswerThreads& threads_;
  bool drained_ = false;
};

}  // namespace nacre
