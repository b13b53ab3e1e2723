#include "serve/connection_loop.h"

#include <fmt/format.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <new>
#include <string_view>
#include <system_error>
#include <thread>

namespace nacre {
namespace {

constexpr std::chrono::milliseconds kAcceptPause{20};
/// For the last word of connections that have begun: clients that are far away, or wait for their CPU.
constexpr std::chrono::milliseconds kHandshake{100};
/// Between two looks for connections whose time is up.
constexpr std::chrono::milliseconds kTimeoutPause{10};

struct Peer {
  sockaddr_storage address{};
  socklen_t size = sizeof address;

  sockaddr* generic() { return reinterpret_cast<sockaddr*>(&address); }
  [[nodiscard]] std::string text() {
    std::array<char, NI_MAXHOST> host{};
    if (getnameinfo(generic(), size, host.data(), host.size(), nullptr, 0, NI_NUMERICHOST) != 0) return {};
    // As the same client is called where only IPv4 is listened to.
    constexpr std::string_view kMapped = "::ffff:";
    const std::string_view name = host.data();
    const bool is_mapped = name.starts_with(kMapped) && name.find('.') != std::string_view::npos;
    return std::string(name.substr(is_mapped ? kMapped.size() : 0));
  }
};

bool& receives() {
  thread_local bool value = false;
  return value;
}

}  // namespace

Status ConnectionLoop::listen(const Options& options, Handlers handlers) {
  handlers_ = std::move(handlers);
  max_connections_ = connections_allowed(options.max_connections);
  NACRE_ASSIGN_OR_RETURN(Listener listener, listen_at(options.address, options.port, options.form));
  listeners_ = std::move(listener.sockets);
  port_ = listener.port;
  int error = poller_.open();
  for (size_t i = 0; i < listeners_.size() && error == 0; ++i)
    error = poller_.add(listeners_[i].get(), Poller::kFirstFree + i);
  next_id_ = first_id_ = Poller::kFirstFree + listeners_.size();
  if (error == 0) return {};
  return {StatusCode::kIo,
          fmt::format("{}:{}: {}", options.address, options.port, std::generic_category().message(error))};
}

bool ConnectionLoop::is_receiver() {
  return receives();
}

AnswerThreads::Received ConnectionLoop::receive(bool wait) {
  receives() = true;
  const auto event = poller_.next(wait);
  if (!event.has_value()) return AnswerThreads::Received::kNothing;
  if (event->id == Poller::kStop) return AnswerThreads::Received::kEnd;
  take(*event);
  return AnswerThreads::Received::kEvent;
}

void ConnectionLoop::take(const Poller::Event& event) {
  if (event.id == Poller::kWake) return;
  if (event.id < first_id_) {
    try {
      event.id == Poller::kTimer ? on_timer() : accept_all();
    } catch (const std::bad_alloc&) {
      accept_again_ = true;
      wake_at(ServeClock::now() + kAcceptPause);
    }
    return;
  }
  std::shared_ptr<Connection> connection;
  {
    const std::lock_guard lock(table_mutex_);
    const auto found = table_.find(event.id);
    if (found == table_.end()) return;  // has just been closed
    connection = found->second;
  }
  try {
    connection->on_change(event.change);
  } catch (const std::bad_alloc&) {
    connection->close();  // it is lost, the others go on
  }
}

void ConnectionLoop::accept_all() {
  const std::lock_guard lock(listen_mutex_);
  for (const OwnedFd& listener : listeners_) accept_from(listener);
}

void ConnectionLoop::accept_from(const OwnedFd& listener) {
  while (true) {
    Peer peer;
    OwnedFd socket(::accept4(listener.get(), peer.generic(), &peer.size, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (socket.is_open()) {
      add(std::move(socket), peer.text());
      continue;
    }
    if (would_block(errno)) return;
    if (errno == EINTR || errno == ECONNABORTED) continue;
    // Descriptors or memory have run out, which it says before it looks whether anybody waits. Make room,
    // and do not spin.
    pollfd waiting{listener.get(), POLLIN, 0};
    if (::poll(&waiting, 1, 0) <= 0) return;
    if (handlers_.make_room) handlers_.make_room();
    accept_again_ = true;
    return wake_at(ServeClock::now() + kAcceptPause);
  }
}

void ConnectionLoop::add(OwnedFd socket, std::string peer) {
  if (size_ >= max_connections_ && (!handlers_.make_room || !handlers_.make_room())) return;  // closes it
  const auto connection = handlers_.connect(std::move(socket), std::move(peer), next_id_++);
  {
    const std::lock_guard lock(table_mutex_);
    table_[connection->id()] = connection;
    size_ = table_.size();
  }
  try {
    connection->start();
  } catch (const std::bad_alloc&) {
    connection->close();
  }
}

void ConnectionLoop::stop_listening(ServeClock::time_point deadline) {
  {
    const std::lock_guard lock(listen_mutex_);
    for (const OwnedFd& listener : listeners_) take_no_more(listener.get());
  }
  std::this_thread::sleep_until(std::min(deadline, ServeClock::now() + kHandshake));
  const std::lock_guard lock(listen_mutex_);
  try {
    for (const OwnedFd& listener : listeners_) accept_from(listener);
  } catch (const std::bad_alloc&) {  // who waits is lost, the others go on
  }
  listeners_.clear();
}

void ConnectionLoop::wake_at(ServeClock::time_point time) {
  if (time >= timer_.load()) return;
  const std::lock_guard lock(timer_mutex_);
  if (time >= timer_.load()) return;
  timer_ = time;
  poller_.set_timer(time);
}

void ConnectionLoop::on_timer() {
  const ServeClock::time_point now = ServeClock::now();
  {
    const std::lock_guard lock(timer_mutex_);
    timer_ = ServeClock::time_point::max();
  }
  ServeClock::time_point next = ServeClock::time_point::max();
  for (const auto& connection : connections()) {
    try {
      next = std::min(next, connection->on_time(now));
    } catch (const std::bad_alloc&) {
      connection->close();  // it is lost, the others go on
    }
  }
  if (accept_again_.exchange(false)) accept_all();
  if (next != ServeClock::time_point::max()) wake_at(std::max(next, now + kTimeoutPause));
}

void ConnectionLoop::remove(const Connection& connection) {
  decltype(table_)::node_type removed;  // goes without the lock
  const std::lock_guard lock(table_mutex_);
  removed = table_.extract(connection.id());
  size_ = table_.size();
  removed_.notify_all();
}

std::vector<std::shared_ptr<Connection>> ConnectionLoop::connections() const {
  const std::lock_guard lock(table_mutex_);
  std::vector<std::shared_ptr<Connection>> all;
  all.reserve(table_.size());
  for (const auto& [id, connection] : table_) all.push_back(connection);
  return all;
}

void ConnectionLoop::wait_until_empty(ServeClock::time_point deadline) {
  std::unique_lock lock(table_mutex_);
  removed_.wait_until(lock, deadline, [this] { return table_.empty(); });
}

}  // namespace nacre
