#include "cli/stop_signal.h"

#include <atomic>

namespace nacre {
namespace {

constexpr std::array<int, 3> kStopping{SIGINT, SIGTERM, SIGHUP};

std::atomic<int> received_signal{0};
static_assert(std::atomic<int>::is_always_lock_free, "a signal handler must not take a lock");

extern "C" void note_signal(int number) {
  received_signal.store(number);
  for (const int stopping : kStopping) {
    struct sigaction now {};
    sigaction(stopping, nullptr, &now);
    if (now.sa_handler == note_signal) std::signal(stopping, SIG_DFL);
  }
}

}  // namespace

StopSignal::StopSignal() {
  received_signal.store(0);
  struct sigaction action {};
  action.sa_handler = note_signal;
  // Reading and writing files goes on as if nothing had happened.
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  for (const int stopping : kStopping) sigaddset(&action.sa_mask, stopping);
  for (size_t i = 0; i < kStopping.size(); ++i) {
    sigaction(kStopping[i], nullptr, &old_[i]);
    if (old_[i].sa_handler != SIG_IGN) sigaction(kStopping[i], &action, nullptr);
  }
}

StopSignal::~StopSignal() {
  for (size_t i = 0; i < kStopping.size(); ++i) sigaction(kStopping[i], &old_[i], nullptr);
}

int StopSignal::received() {
  return received_signal.load();
}

}  // namespace nacre
