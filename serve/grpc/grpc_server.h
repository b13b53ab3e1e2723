#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>

#include "engine/status.h"
#include "serve/access_record.h"
#include "serve/call_context.h"
#include "serve/grpc/tls.h"
#include "serve/serve_core.h"

namespace nacre {

/// Reads --ssl_config_file: an SSLConfig in protobuf's text form. Errors are `path[:line]: reason`.
Result<SslOptions> read_ssl_config(const std::string& path);

struct GrpcOptions {
  std::string address = "0.0.0.0";  ///< a name, an IPv4 address or an IPv6 address
  int port = 8500;                  ///< 0: any that is free
  size_t threads = 1;               ///< calls that are answered at the same time
  size_t max_waiting = 1024;        ///< calls that wait for one of those; more is RESOURCE_EXHAUSTED
  size_t max_connections = 8192;    ///< more are closed at once; fewer when fewer files may be open
  size_t max_message_bytes = size_t{64} << 20;  ///< of a request
  /// Of replies that wait for their clients; beyond it the calls that have done so for longest are cancelled.
  size_t max_unsent_bytes = size_t{256} << 20;
  std::optional<SslOptions> ssl;
  AccessSink access;  ///< of calls, when they are over; may be empty
};

/// TensorFlow Serving's gRPC services, grpc.health.v1 and server reflection. A call's deadline and its
/// cancellation reach the core. Thread-safe.
class GrpcServer {
 public:
  /// Listens. kIo `gRPC: ADDRESS:PORT: ...` when the address is in use or the keys are none. `core` must
  /// outlive the result.
  static Result<std::unique_ptr<GrpcServer>> start(const GrpcOptions& options, ServeCore& core);
  /// Drains with no time.
  ~GrpcServer();
  GrpcServer(const GrpcServer&) = delete;
  GrpcServer& operator=(const GrpcServer&) = delete;

  /// The port that it listens to.
  [[nodiscard]] int port() const;
  /// Tells clients that it takes no more calls, and waits until those have their answers that they sent
  /// before they heard of it; at the deadline they are cancelled. Once.
  void drain(ServeClock::time_point deadline);

 private:
  class Impl;
  explicit GrpcServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace nacre
