#include "serve/rest/http_server.h"

#include <fmt/format.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <new>
#include <system_error>
#include <unordered_map>
#include <utility>

#include "serve/rest/http_session.h"

namespace nacre {
namespace {

constexpr std::chrono::milliseconds kAcceptPause{20};
/// Between two looks for connections whose time is up.
constexpr std::chrono::milliseconds kTimeoutPause{10};
constexpr size_t kReceiveBytes = size_t{64} << 10;
constexpr uint64_t kListener = Poller::kFirstFree;

struct Peer {
  sockaddr_storage address{};
  socklen_t size = sizeof address;

  sockaddr* generic() { return reinterpret_cast<sockaddr*>(&address); }
  [[nodiscard]] std::string text() {
    std::array<char, NI_MAXHOST> host{};
    if (getnameinfo(generic(), size, host.data(), host.size(), nullptr, 0, NI_NUMERICHOST) != 0) return {};
    return host.data();
  }
};

}  // namespace

class HttpServer::Impl {
 public:
  explicit Impl(const Options& options)
      : max_connections_(connections_allowed(options.limits.max_connections)),
        shared_(
            {.at_once = options.threads, .max_waiting = options.max_waiting, .waiting = options.waiting}) {
    shared_.limits = options.limits;
    shared_.received.resize(kReceiveBytes);
    shared_.wake_at = [this](ServeClock::time_point time) { wake_at(time); };
    shared_.closed = [this](const HttpSession& session) {
      by_id_.erase(session.id());
      open_ = shared_.sessions.size();
      drained_.notify_all();
    };
  }

  ~Impl() {
    {
      const std::lock_guard lock(shared_.mutex);
      for (const auto& session : shared_.sessions) session->cancel();
    }
    shared_.poller.stop();
    shared_.threads.stop();
    const std::lock_guard lock(shared_.mutex);
    while (!shared_.sessions.empty()) std::shared_ptr<HttpSession>(shared_.sessions.front())->close();
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  Status listen(const Options& options) {
    NACRE_ASSIGN_OR_RETURN(Listener listener, listen_at(options.address, options.port, AddressForm::kNumber));
    listener_ = std::move(listener.sockets.front());
    port_ = listener.port;
    int error = shared_.poller.open();
    if (error == 0) error = shared_.poller.add(listener_.get(), kListener);
    if (error == 0) return {};
    return {StatusCode::kIo,
            fmt::format("{}:{}: {}", options.address, options.port, std::generic_category().message(error))};
  }

  void run(Handlers handlers) {
    shared_.handlers = std::move(handlers);
    shared_.threads.start([this](bool wait) { return receive(wait); });
  }

  void drain(ServeClock::time_point deadline) {
    std::unique_lock lock(shared_.mutex);
    listener_.reset();
    shared_.draining = true;
    const HttpSessions sessions = shared_.sessions;  // closing takes them off the list
    for (const auto& session : sessions) {
      if (session->is_idle()) session->close();
    }
    drained_.wait_until(lock, deadline, [this] { return shared_.sessions.empty(); });
  }

  [[nodiscard]] uint16_t port() const { return port_; }
  [[nodiscard]] size_t connections() const { return open_; }

 private:
  AnswerThreads::Received receive(bool wait) {
    const auto event = shared_.poller.next(wait);
    if (!event.has_value()) return AnswerThreads::Received::kNothing;
    if (event->id == Poller::kStop) return AnswerThreads::Received::kEnd;
    const std::lock_guard lock(shared_.mutex);
    take(*event);
    return AnswerThreads::Received::kEvent;
  }

  void take(const Poller::Event& event) {
    if (event.id == Poller::kTimer || event.id == kListener) {
      try {
        event.id == kListener ? accept() : on_timer();
      } catch (const std::bad_alloc&) {
        accept_again_ = true;
        wake_at(ServeClock::now() + kAcceptPause);
      }
      return;
    }
    const auto found = by_id_.find(event.id);
    if (found == by_id_.end()) return;  // has just been closed
    const std::shared_ptr<HttpSession> session = found->second->shared_from_this();
    try {
      session->on_change(event.change);
    } catch (const std::bad_alloc&) {
      session->close();  // it is lost, the others go on
    }
  }

  void accept() {
    while (listener_.is_open()) {
      Peer peer;
      OwnedFd socket(::accept4(listener_.get(), peer.generic(), &peer.size, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (socket.is_open()) {
        add(std::move(socket), peer.text());
        continue;
      }
      if (errno == EAGAIN || errno == EWOULDBLOCK) return;
      if (errno == EINTR || errno == ECONNABORTED) continue;
      // Descriptors or memory have run out, which it says before it looks whether anybody waits. Make room,
      // and do not spin.
      pollfd waiting{listener_.get(), POLLIN, 0};
      if (::poll(&waiting, 1, 0) <= 0) return;
      evict();
      accept_again_ = true;
      return wake_at(ServeClock::now() + kAcceptPause);
    }
  }

  void add(OwnedFd socket, std::string peer) {
    if (shared_.sessions.size() >= max_connections_ && !evict()) return;  // closes it
    const auto session =
        std::make_shared<HttpSession>(std::move(socket), std::move(peer), next_id_++, shared_);
    shared_.sessions.push_back(session);
    by_id_[session->id()] = session.get();
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

  void wake_at(ServeClock::time_point time) {
    if (time >= timer_) return;
    timer_ = time;
    shared_.poller.set_timer(time);
  }

  void on_timer() {
    const ServeClock::time_point now = ServeClock::now();
    timer_ = ServeClock::time_point::max();
    const HttpSessions sessions = shared_.sessions;
    for (const auto& session : sessions) session->on_time(now);
    if (std::exchange(accept_again_, false)) accept();
    ServeClock::time_point next = ServeClock::time_point::max();
    for (const auto& session : shared_.sessions) next = std::min(next, session->deadline());
    if (next != ServeClock::time_point::max()) wake_at(std::max(next, now + kTimeoutPause));
  }

  const size_t max_connections_;
  HttpShared shared_;  // its mutex guards what follows, too
  OwnedFd listener_;
  uint16_t port_ = 0;
  uint64_t next_id_ = kListener + 1;
  std::unordered_map<uint64_t, HttpSession*> by_id_;
  ServeClock::time_point timer_ = ServeClock::time_point::max();  ///< for when it is set
  bool accept_again_ = false;
  std::condition_variable drained_;
  std::atomic<size_t> open_{0};
};

Result<std::unique_ptr<HttpServer>> HttpServer::start(const Options& options, Handlers handlers) {
  auto impl = std::make_unique<Impl>(options);
  NACRE_RETURN_IF_ERROR(impl->listen(options));
  impl->run(std::move(handlers));
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
