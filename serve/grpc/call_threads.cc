#include "serve/grpc/call_threads.h"

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "serve/warm_thread.h"

namespace nacre {
namespace {

/// How often calls are looked after while all threads answer.
constexpr std::chrono::milliseconds kBusyPause{5};
/// How long a thread looks whether it is its turn to wait within gRPC, before it sleeps: the one before it
/// needs some 20 us for a call, and to be woken takes as long again, or more where a virtual machine's CPU
/// has gone idle.
constexpr std::chrono::microseconds kPatience{60};

}  // namespace

QueuedCall::QueuedCall(CallThreads& threads) : threads_(threads) {
  const std::lock_guard lock(threads_.mutex_);
  ++threads_.calls_;
}

QueuedCall::~QueuedCall() {
  const std::lock_guard lock(threads_.mutex_);
  if (--threads_.calls_ == 0) threads_.no_calls_.notify_all();
}

CallThreads::CallThreads(const Options& options) : options_(options) {
  options_.at_once = std::max<size_t>(options_.at_once, 1);
}

void CallThreads::start(std::unique_ptr<grpc::ServerCompletionQueue> queue) {
  queue_ = std::move(queue);
  for (size_t i = 0; i < options_.at_once + 1; ++i) threads_.emplace_back([this] { serve(); });
}

void CallThreads::stop() {
  if (queue_ == nullptr) return;
  {
    // What is asked of gRPC from now on fails; but nothing may be asked of a queue that has been shut down.
    Lock lock(mutex_);
    no_calls_.wait(lock, [this] { return calls_ == 0; });
  }
  queue_->Shutdown();
  threads_.clear();
  queue_ = nullptr;
}

bool CallThreads::submit(std::function<void()> answer, bool is_short) {
  const std::lock_guard lock(mutex_);
  if (answering_ >= options_.at_once && jobs_.size() >= options_.max_waiting) return false;
  jobs_.push_back({std::move(answer), is_short});
  if (options_.waiting != nullptr) ++*options_.waiting;
  return true;
}

bool CallThreads::answer_another() {
  std::function<void()> answer;
  do {
    const Lock lock(mutex_);
    if (answering_ < options_.at_once) return false;  // a thread is idle, which does it sooner
    const auto found = std::ranges::find_if(jobs_, [](const Job& job) { return job.is_short; });
    if (found != jobs_.end()) answer = take(found);
  } while (!answer && poll(false) == Polled::kEvent);
  if (!answer) return false;
  answer();
  return true;
}

/// One thread at a time waits within gRPC, whose threads would wake each other in there; the others wait here
/// until it has something to do and is followed by one of them. While all answer that may, nobody is woken:
/// they look themselves before they take the next call, and the one that is left looks now and then, in case
/// that takes long.
void CallThreads::serve() {
  warm_thread();
  Lock lock(mutex_);
  Polled polled = Polled::kEvent;
  while (!ended_) {
    if (answer_next(lock)) continue;
    const bool all_busy = answering_ >= options_.at_once;
    if (all_busy && polled == Polled::kNothing) {
      watched_ = true;
      wake_.wait_for(lock, kBusyPause);
      watched_ = false;
      polled = Polled::kEvent;
      continue;
    }
    if (!all_busy && polling_) {
      await_turn(lock);
      continue;
    }
    if (!all_busy) polling_ = true;
    lock.unlock();
    polled = poll(!all_busy);
    lock.lock();
    if (!all_busy) polling_ = false;
    if (polled != Polled::kEnd) continue;
    ended_ = true;
    wake_.notify_all();
  }
}

/// Until the thread that waits within gRPC has come back, or something has changed.
void CallThreads::await_turn(Lock& lock) {
  lock.unlock();
  const auto until = std::chrono::steady_clock::now() + kPatience;
  while (polling_ && std::chrono::steady_clock::now() < until) std::this_thread::yield();
  lock.lock();
  if (polling_) wake_.wait(lock);
}

CallThreads::Polled CallThreads::poll(bool wait) {
  void* tag = nullptr;
  bool ok = false;
  const gpr_timespec until = wait ? gpr_inf_future(GPR_CLOCK_MONOTONIC) : gpr_inf_past(GPR_CLOCK_MONOTONIC);
  switch (queue_->AsyncNext(&tag, &ok, until)) {
    case grpc::CompletionQueue::SHUTDOWN:
      return Polled::kEnd;
    case grpc::CompletionQueue::TIMEOUT:
      return Polled::kNothing;
    case grpc::CompletionQueue::GOT_EVENT:
      break;
  }
  static_cast<CallEvent*>(tag)->happened(ok);
  return Polled::kEvent;
}

/// False when no call waits that may be answered now.
bool CallThreads::answer_next(Lock& lock) {
  if (jobs_.empty() || answering_ >= options_.at_once) return false;
  std::function<void()> answer = take(jobs_.begin());
  ++answering_;
  if (!polling_ && (answering_ < options_.at_once || !watched_)) wake_.notify_one();
  lock.unlock();
  answer();
  answer = nullptr;  // what it holds goes without the lock
  lock.lock();
  --answering_;
  return true;
}

std::function<void()> CallThreads::take(std::deque<Job>::iterator place) {
  std::function<void()> answer = std::move(place->answer);
  jobs_.erase(place);
  if (options_.waiting != nullptr) --*options_.waiting;
  return answer;
}

}  // namespace nacre
