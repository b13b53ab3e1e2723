#include "serve/rest/http_server.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/post.hpp>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

#include "serve/rest/http_session.h"

namespace nacre {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using ErrorCode = boost::system::error_code;

/// Descriptors that connections leave to files and other sockets.
constexpr size_t kSpareDescriptors = 64;
constexpr std::chrono::milliseconds kAcceptPause{20};

size_t connections_allowed(size_t wanted) {
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur == RLIM_INFINITY) return wanted;
  const auto limit = static_cast<size_t>(files.rlim_cur);
  return std::min(wanted, std::max<size_t>(limit, kSpareDescriptors + 16) - kSpareDescriptors);
}

}  // namespace

class HttpServer::Impl {
 public:
  explicit Impl(const Options& options) : acceptor_(shared_.io), pause_(shared_.io) {
    shared_.limits = options.limits;
    max_connections_ = connections_allowed(options.limits.max_connections);
    shared_.closed = [this] {
      open_ = shared_.sessions.size();
      const std::lock_guard lock(mutex_);
      drained_.notify_all();
    };
  }

  ~Impl() {
    asio::post(shared_.io, [this] {
      stop_accepting();
      close_all();
      shared_.io.stop();
    });
    if (thread_.joinable()) thread_.join();
    shared_.pool.reset();  // what it still answers nobody reads
  }

  Status listen(const Options& options) {
    const auto failed = [&](const std::string& reason) {
      return Status(StatusCode::kIo, fmt::format("{}:{}: {}", options.address, options.port, reason));
    };
    ErrorCode error;
    const auto address = asio::ip::make_address(options.address, error);
    if (error) return {StatusCode::kUsage, fmt::format("{}: expected an IP address", options.address)};
    const tcp::endpoint endpoint(address, options.port);
    acceptor_.open(endpoint.protocol(), error);
    if (error) return failed(error.message());
    acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
    if (!error && address.is_v6()) acceptor_.set_option(asio::ip::v6_only(false), error);
    if (!error) acceptor_.bind(endpoint, error);
    if (!error) acceptor_.listen(asio::socket_base::max_listen_connections, error);
    if (error) return failed(error.message());
    port_ = acceptor_.local_endpoint(error).port();
    return error ? failed(error.message()) : Status();
  }

  void run(const Options& options, Handlers handlers) {
    shared_.handlers = std::move(handlers);
    shared_.pool = std::make_unique<WorkerPool>(options.threads, options.max_waiting);
    accept();
    thread_ = std::thread([this] {
      // What a handler may run out of is memory: its connection is lost, the others go on.
      while (!shared_.io.stopped()) {
        try {
          shared_.io.run();
        } catch (const std::exception&) {
          continue;
        }
      }
    });
  }

  void drain(ServeClock::time_point deadline) {
    asio::post(shared_.io, [this] {
      stop_accepting();
      shared_.draining = true;
      const HttpSessions sessions = shared_.sessions;  // closing takes them off the list
      for (const auto& session : sessions) session->drain();
      shared_.closed();
    });
    std::unique_lock lock(mutex_);
    drained_.wait_until(lock, deadline, [this] { return stopped_accepting_ && open_ == 0; });
  }

  [[nodiscard]] uint16_t port() const { return port_; }
  [[nodiscard]] size_t connections() const { return open_; }

 private:
  void accept() {
    acceptor_.async_accept([this](const ErrorCode& error, tcp::socket socket) {
      if (!acceptor_.is_open()) return;
      if (error) {
        // Descriptors or memory have run out: make room, and do not spin.
        evict();
        pause_.expires_after(kAcceptPause);
        pause_.async_wait([this](const ErrorCode& cancelled) {
          if (!cancelled) accept();
        });
        return;
      }
      add(std::move(socket));
      accept();
    });
  }

  void add(tcp::socket socket) {
    if (shared_.sessions.size() >= max_connections_ && !evict()) return;  // closes it
    const auto session = std::make_shared<HttpSession>(std::move(socket), shared_);
    shared_.sessions.push_back(session);
    open_ = shared_.sessions.size();
    session->start(std::prev(shared_.sessions.end()));
  }

  /// Closes the connection that has kept the server waiting for longest, if there is one.
  bool evict() {
    const auto slowest =
        std::ranges::find_if(shared_.sessions, [](const auto& s) { return s->is_receiving(); });
    if (slowest == shared_.sessions.end()) return false;
    const std::shared_ptr<HttpSession> session = *slowest;
    session->close();
    return true;
  }

  void stop_accepting() {
    ErrorCode ignored;
    acceptor_.close(ignored);
    pause_.cancel();
    stopped_accepting_ = true;
  }

  void close_all() {
    const HttpSessions sessions = shared_.sessions;
    for (const auto& session : sessions) session->close();
  }

  HttpShared shared_;
  tcp::acceptor acceptor_;
  asio::steady_timer pause_;
  size_t max_connections_ = 0;
  uint16_t port_ = 0;
  std::atomic<size_t> open_{0};
  std::atomic<bool> stopped_accepting_{false};
  std::mutex mutex_;
  std::condition_variable drained_;
  std::thread thread_;
};

Result<std::unique_ptr<HttpServer>> HttpServer::start(const Options& options, Handlers handlers) {
  auto impl = std::make_unique<Impl>(options);
  NACRE_RETURN_IF_ERROR(impl->listen(options));
  impl->run(options, std::move(handlers));
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
