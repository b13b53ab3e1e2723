#pragma once

#include <cstdint>
#include <optional>

#include "serve/call_context.h"
#include "serve/listener.h"

namespace nacre {

/// Says which of many sockets have changed (epoll, edge by edge). Any number of threads may wait: each change
/// is told to one of them, the one that has waited for the shortest time. Thread-safe.
class Poller {
 public:
  static constexpr uint64_t kStop = 0;
  static constexpr uint64_t kTimer = 1;
  static constexpr uint64_t kWake = 2;
  static constexpr uint64_t kFirstFree = 3;

  struct Event {
    uint64_t id = 0;      ///< that `add` was given, kTimer, kWake or kStop
    uint32_t change = 0;  ///< EPOLLIN ...
  };

  /// errno, or 0 when it can be used.
  int open();
  /// Tells of `fd` by the name `id` until it is closed. errno or 0.
  int add(int fd, uint64_t id);
  /// Tells of `fd` once more if it is ready, although nothing has changed.
  void tell_again(int fd, uint64_t id);
  /// One change; nothing when there is none and it shall not wait.
  std::optional<Event> next(bool wait);
  /// Tells kTimer once, at that time; another call moves it.
  void set_timer(ServeClock::time_point time);
  /// Tells kWake to one that waits, or to the next that will.
  void wake();
  /// Tells kStop to all that wait, and to all that will.
  void stop();

 private:
  int control(int operation, int fd, uint64_t id, uint32_t events);

  OwnedFd epoll_;
  OwnedFd timer_;
  OwnedFd wake_;
  OwnedFd stop_;
};

}  // namespace nacre
