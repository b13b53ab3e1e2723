#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/status.h"
#include "serve/answer_threads.h"
#include "serve/call_context.h"
#include "serve/listener.h"
#include "serve/poller.h"

namespace nacre {

/// A connection of a ConnectionLoop, which calls these functions from any thread, several at the same time.
/// When one of them throws std::bad_alloc the connection is closed.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  explicit Connection(uint64_t id) : id_(id) {}
  virtual ~Connection() = default;
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  [[nodiscard]] uint64_t id() const { return id_; }
  /// Begins: the loop knows it, and watches its socket from now on when it asks for that (Poller::add).
  virtual void start() = 0;
  /// Its socket has changed (EPOLLIN ...).
  virtual void on_change(uint32_t change) = 0;
  /// Looks whether its time is up; returns when to look again.
  virtual ServeClock::time_point on_time(ServeClock::time_point now) = 0;
  /// Ends, and takes itself off the loop; more than once does no harm.
  virtual void close() = 0;

 private:
  const uint64_t id_;
};

/// Takes connections in, and tells each of changes of its socket and of time: what a transport's threads
/// receive from. Thread-safe; holds no lock while it calls a connection.
class ConnectionLoop {
 public:
  struct Options {
    std::string address;
    uint16_t port = 0;
    AddressForm form = AddressForm::kNumber;
    size_t max_connections = 8192;  ///< fewer when the process may open fewer files
  };
  struct Handlers {
    /// Makes a connection; `peer` is its address, without port.
    std::function<std::shared_ptr<Connection>(OwnedFd socket, std::string peer, uint64_t id)> connect;
    /// Closes a connection that matters less than a new one; false when there is none. May be empty.
    std::function<bool()> make_room;
  };

  /// Errors are `ADDRESS:PORT: reason` (kIo, kUsage). Before anything else.
  Status listen(const Options& options, Handlers handlers);
  /// AnswerThreads::Receive.
  AnswerThreads::Received receive(bool wait);
  /// True on threads that have called `receive` of any loop.
  [[nodiscard]] static bool is_receiver();
  /// Takes in those connections that wait or are about to be made, and no more. Waits for the latter: a tenth
  /// of a second, and not beyond `deadline`.
  void stop_listening(ServeClock::time_point deadline);
  /// Has `receive` say that it has ended, to everybody.
  void stop() { poller_.stop(); }

  /// Asks for Connection::on_time of all at that time.
  void wake_at(ServeClock::time_point time);
  /// Has one thread that waits in `receive` look for jobs.
  void wake_one() { poller_.wake(); }
  /// A connection has closed.
  void remove(const Connection& connection);

  [[nodiscard]] Poller& poller() { return poller_; }
  [[nodiscard]] uint16_t port() const { return port_; }
  [[nodiscard]] size_t size() const { return size_; }
  [[nodiscard]] std::vector<std::shared_ptr<Connection>> connections() const;
  /// Waits until there are no connections; not beyond the deadline.
  void wait_until_empty(ServeClock::time_point deadline);

 private:
  void take(const Poller::Event& event);
  void accept_all();
  void accept_from(const OwnedFd& listener);
  void add(OwnedFd socket, std::string peer);
  void on_timer();

  Handlers handlers_;
  size_t max_connections_ = 0;
  Poller poller_;
  uint16_t port_ = 0;
  uint64_t first_id_ = 0;  ///< of a connection; those before are the listeners'

  std::mutex listen_mutex_;  // guards what follows; taken before any other
  std::vector<OwnedFd> listeners_;
  uint64_t next_id_ = 0;

  std::atomic<bool> accept_again_{false};
  std::mutex timer_mutex_;
  std::atomic<ServeClock::time_point> timer_{ServeClock::time_point::max()};  ///< for when it is set

  mutable std::mutex table_mutex_;  // guards what follows
  std::condition_variable removed_;
  std::unordered_map<uint64_t, std::shared_ptr<Connection>> table_;
  std::atomic<size_t> size_{0};
};

}  // namespace nacre
