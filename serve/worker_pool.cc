#include "serve/worker_pool.h"

#include <algorithm>
#include <utility>

#include "serve/warm_thread.h"

namespace nacre {

WorkerPool::WorkerPool(size_t threads, size_t max_waiting, std::atomic<size_t>* waiting)
    : max_waiting_(max_waiting), waiting_(waiting) {
  for (size_t i = 0; i < std::max<size_t>(threads, 1); ++i) threads_.emplace_back([this] { run(); });
}

WorkerPool::~WorkerPool() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  work_.notify_all();
}

bool WorkerPool::submit(std::function<void()> job, bool is_short) {
  {
    const std::lock_guard lock(mutex_);
    if (jobs_.size() >= max_waiting_ + idle_) return false;
    jobs_.push_back({std::move(job), is_short});
    if (waiting_ != nullptr) ++*waiting_;
  }
  work_.notify_one();
  return true;
}

std::function<void()> WorkerPool::take(std::deque<Job>::iterator place) {
  std::function<void()> job = std::move(place->run);
  jobs_.erase(place);
  if (waiting_ != nullptr) --*waiting_;
  return job;
}

bool WorkerPool::run_another() {
  std::function<void()> job;
  {
    const std::lock_guard lock(mutex_);
    const auto found = std::ranges::find_if(jobs_, [](const Job& waits) { return waits.is_short; });
    if (found == jobs_.end()) return false;
    job = take(found);
  }
  job();
  return true;
}

void WorkerPool::run() {
  warm_thread();
  std::unique_lock lock(mutex_);
  while (true) {
    ++idle_;
    work_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
    --idle_;
    if (jobs_.empty()) return;
    std::function<void()> job = take(jobs_.begin());
    lock.unlock();
    job();
    job = nullptr;  // what it holds goes without the lock
    lock.lock();
  }
}

}  // namespace nacre
