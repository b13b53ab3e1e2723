#include "serve/grpc/call_threads.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "serve/warm_thread.h"

namespace nacre {
namespace {

/// How often calls are looked after while all threads answer.
constexpr std::chrono::milliseconds kBusyPause{1};

}  // namespace

void CallThreads::start(std::unique_ptr<grpc::ServerCompletionQueue> queue) {
  queue_ = std::move(queue);
  for (size_t i = 0; i < std::max<size_t>(options_.at_once, 1) + 1; ++i)
    threads_.emplace_back([this] { serve(); });
}

void CallThreads::stop() {
  if (queue_ == nullptr) return;
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
    const auto found = std::ranges::find_if(jobs_, [](const Job& job) { return job.is_short; });
    if (found != jobs_.end()) answer = take(found);
  } while (!answer && poll(false) == Polled::kEvent);
  if (!answer) return false;
  answer();
  return true;
}

/// As HttpServer's threads: while all but one answer, that one only looks now and then, in case the answers
/// take long; the others look themselves before they take the next call.
void CallThreads::serve() {
  warm_thread();
  Lock lock(mutex_);
  Polled polled = Polled::kEvent;
  while (polled != Polled::kEnd) {
    if (answer_next(lock)) continue;
    const bool all_busy = answering_ >= options_.at_once;
    if (all_busy && polled == Polled::kNothing) busy_.wait_for(lock, kBusyPause);
    lock.unlock();
    polled = poll(!all_busy);
    lock.lock();
  }
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
