#include "serve/rest/http_server.h"

#include <algorithm>
#include <memory>
#include <mutex>
#include <utility>

#include "serve/rest/http_session.h"

namespace nacre {

class HttpServer::Impl {
 public:
  Impl(const Options& options, Handlers handlers)
      : shared_(
            {.at_once = options.threads, .max_waiting = options.max_waiting, .waiting = options.waiting}) {
    shared_.limits = options.limits;
    shared_.handlers = std::move(handlers);
  }

  ~Impl() {
    {
      const std::lock_guard lock(shared_.mutex);
      for (const auto& session : shared_.sessions) session->cancel();
    }
    shared_.loop.stop();
    shared_.threads.stop();
    for (const auto& connection : shared_.loop.connections()) connection->close();
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  Status listen(const Options& options) {
    const auto connect = [this](OwnedFd socket, std::string peer, uint64_t id) {
      return std::make_shared<HttpSession>(std::move(socket), std::move(peer), id, shared_);
    };
    NACRE_RETURN_IF_ERROR(shared_.loop.listen(
        {.address = options.address, .port = options.port, .max_connections = options.limits.max_connections},
        {connect, [this] { return evict(); }}));
    shared_.threads.start([this](bool wait) { return shared_.loop.receive(wait); },
                          [this] { shared_.loop.wake_one(); });
    return {};
  }

  void drain(ServeClock::time_point deadline) {
    shared_.draining = true;
    shared_.loop.stop_listening(deadline);
    {
      const std::lock_guard lock(shared_.mutex);
      for (const auto& session : shared_.sessions) session->drain();
    }
    shared_.loop.wait_until_empty(deadline);
  }

  [[nodiscard]] uint16_t port() const { return shared_.loop.port(); }
  [[nodiscard]] size_t connections() const { return shared_.loop.size(); }

 private:
  /// Closes the connection that has kept the server waiting for longest, if there is one.
  bool evict() {
    const std::lock_guard lock(shared_.mutex);
    const auto slowest =
        std::ranges::find_if(shared_.sessions, [](const auto& s) { return s->is_receiving(); });
    if (slowest == shared_.sessions.end()) return false;
    const std::shared_ptr<HttpSession> session = *slowest;
    session->close_locked();
    return true;
  }

  HttpShared shared_;
};

Result<std::unique_ptr<HttpServer>> HttpServer::start(const Options& options, Handlers handlers) {
  auto impl = std::make_unique<Impl>(options, std::move(handlers));
  NACRE_RETURN_IF_ERROR(impl->listen(options));
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpServer::~HttpServer() = default;

uint16_t HttpServer::port() const {
  return impl_->port();
}

size_t HttpServer::connections() const {
  return impl_->connections();
}

void HttpServer::drain(ServeClock::time_point deadline) {
  impl_->drain(deadline);
}

}  // namespace nacre
