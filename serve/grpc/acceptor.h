#pragma once

#include <grpcpp/server_builder.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <unordered_set>

#include "engine/status.h"
#include "serve/listener.h"

namespace nacre {

/// Takes in gRPC's connections, on a thread of its own. gRPC's own listener knows no bound, and listens never
/// again once the process has run out of file descriptors.
class Acceptor {
 public:
  using Server = grpc::experimental::ExternalConnectionAcceptor;

  /// Errors are those of listen_at.
  static Result<std::unique_ptr<Acceptor>> listen(const std::string& address, int port,
                                                  size_t max_connections);
  ~Acceptor() { stop(); }
  Acceptor(const Acceptor&) = delete;
  Acceptor& operator=(const Acceptor&) = delete;

  [[nodiscard]] int port() const { return listener_.port; }
  /// Hands connections to `server`, which has been started, from now on.
  void start(std::unique_ptr<Server> server);
  /// Takes no more. Before the server is shut down.
  void stop();

 private:
  Acceptor(Listener listener, OwnedFd stop, size_t max_connections)
      : listener_(std::move(listener)),
        stop_(std::move(stop)),
        max_connections_(connections_allowed(max_connections)) {}
  void run();
  bool accept(int listener);
  bool has_room();

  Listener listener_;
  OwnedFd stop_;  ///< readable when no more shall be taken
  const size_t max_connections_;
  std::unique_ptr<Server> server_;
  /// gRPC owns them, and does not say when it closes one; a number that comes again has been closed before.
  std::unordered_set<int> taken_;
  std::chrono::steady_clock::time_point next_count_;
  std::thread thread_;
};

}  // namespace nacre
