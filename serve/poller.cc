#include "serve/poller.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace nacre {
namespace {

constexpr uint32_t kConnection = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;

}  // namespace

int Poller::open() {
  epoll_ = OwnedFd(::epoll_create1(EPOLL_CLOEXEC));
  timer_ = OwnedFd(::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
  wake_ = OwnedFd(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  stop_ = OwnedFd(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  if (!epoll_.is_open() || !timer_.is_open() || !wake_.is_open() || !stop_.is_open()) return errno;
  if (const int error = control(EPOLL_CTL_ADD, timer_.get(), kTimer, EPOLLIN | EPOLLET); error != 0)
    return error;
  if (const int error = control(EPOLL_CTL_ADD, wake_.get(), kWake, EPOLLIN | EPOLLET); error != 0)
    return error;
  return control(EPOLL_CTL_ADD, stop_.get(), kStop, EPOLLIN);
}

int Poller::add(int fd, uint64_t id) {
  return control(EPOLL_CTL_ADD, fd, id, kConnection);
}

void Poller::tell_again(int fd, uint64_t id) {
  control(EPOLL_CTL_MOD, fd, id, kConnection);
}

int Poller::control(int operation, int fd, uint64_t id, uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = id;
  return ::epoll_ctl(epoll_.get(), operation, fd, &event) == 0 ? 0 : errno;
}

std::optional<Poller::Event> Poller::next(bool wait) {
  // One at a time: what else there is wakes the next thread that waits.
  epoll_event event{};
  const int count = ::epoll_wait(epoll_.get(), &event, 1, wait ? -1 : 0);
  if (count <= 0) return std::nullopt;
  return Event{event.data.u64, event.events};
}

void Poller::set_timer(ServeClock::time_point time) {
  const auto since = std::chrono::nanoseconds(time.time_since_epoch()).count();
  const auto in = std::max<int64_t>(since, 1);  // zero would mean never
  itimerspec when{};
  when.it_value.tv_sec = static_cast<time_t>(in / 1'000'000'000);
  when.it_value.tv_nsec = static_cast<long>(in % 1'000'000'000);
  ::timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &when, nullptr);
}

void Poller::wake() {
  ::eventfd_write(wake_.get(), 1);
}

void Poller::stop() {
  ::eventfd_write(stop_.get(), 1);
}

}  // namespace nacre
