#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace nacre {

/// Threads that run jobs in the order in which they came. Thread-safe. The destructor runs what waits first.
class WorkerPool {
 public:
  /// At least one thread.
  WorkerPool(size_t threads, size_t max_waiting);
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  /// False, and the job is not taken, when all threads are busy and max_waiting wait already. A job must not
  /// throw.
  bool submit(std::function<void()> job);

 private:
  void run();

  const size_t max_waiting_;
  std::mutex mutex_;
  std::condition_variable work_;
  std::deque<std::function<void()>> jobs_;  // guarded by mutex_
  size_t idle_ = 0;                         // guarded by mutex_
  bool stopping_ = false;                   // guarded by mutex_
  std::vector<std::jthread> threads_;
};

}  // namespace nacre
