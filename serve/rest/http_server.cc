#include "serve/rest/http_server.h"

#include <fmt/format.h>
#include <netdb.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <system_error>
#include <unordered_map>
#include <utility>

#include "serve/rest/http_session.h"

namespace nacre {
namespace {

/// Descriptors that connections leave to files and other sockets.
constexpr size_t kSpareDescriptors = 64;
constexpr std::chrono::milliseconds kAcceptPause{20};
/// Between two looks for connections whose time is up.
constexpr std::chrono::milliseconds kTimeoutPause{10};
constexpr size_t kReceiveBytes = size_t{64} << 10;
constexpr uint64_t kListener = Poller::kFirstFree;

size_t connections_allowed(size_t wanted) {
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur == RLIM_INFINITY) return wanted;
  const auto limit = static_cast<size_t>(files.rlim_cur);
  return std::min(wanted, std::max<size_t>(limit, kSpareDescriptors + 16) - kSpareDescriptors);
}

std::string text_of(int error) {
  return std::generic_category().message(error);
}

using Address = std::unique_ptr<addrinfo, void (*)(addrinfo*)>;

/// Null when it is no IP address.
Address resolve(const std::string& address, uint16_t port) {
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(address.c_str(), std::to_string(port).c_str(), &hints, &found) != 0) found = nullptr;
  return {found, freeaddrinfo};
}

struct Peer {
  sockaddr_storage address{};
  socklen_t size = sizeof address;

  sockaddr* generic() { return reinterpret_cast<sockaddr*>(&address); }
  [[nodiscard]] std::string text() {
    std::array<char, NI_MAXHOST> host{};
    if (getnameinfo(generic(), size, host.data(), host.size(), nullptr, 0, NI_NUMERICHOST) != 0) return {};
    return host.data();
  }
  [[nodiscard]] uint16_t port() {
    std::array<char, NI_MAXSERV> service{};
    if (getnameinfo(generic(), size, nullptr, 0, service.data(), service.size(), NI_NUMERICSERV) != 0)
      return 0;
    return static_cast<uint16_t>(std::stoi(service.data()));
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
    const auto failed = [&](int error) {
      return Status(StatusCode::kIo, fmt::format("{}:{}: {}", options.address, options.port, text_of(error)));
    };
    const Address address = resolve(options.address, options.port);
    if (address == nullptr)
      return {StatusCode::kUsage, fmt::format("{}: expected an IP address", options.address)};
    if (const int error = shared_.poller.open(); error != 0) return failed(error);
    listener_ = OwnedFd(::socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!listener_.is_open()) return failed(errno);
    const int on = 1;
    const int off = 0;
    ::setsockopt(listener_.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (address->ai_family == AF_INET6)
      ::setsockopt(listener_.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (::bind(listener_.get(), address->ai_addr, address->ai_addrlen) != 0) return failed(errno);
    if (::listen(listener_.get(), SOMAXCONN) != 0) return failed(errno);
    Peer own;
    if (::getsockname(listener_.get(), own.generic(), &own.size) != 0) return failed(errno);
    port_ = own.port();
    const int error = shared_.poller.add(listener_.get(), kListener);
    return error != 0 ? failed(error) : Status();
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
