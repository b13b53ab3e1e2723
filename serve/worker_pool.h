#pragma once

#include <atomic>
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
  /// At least one thread. `waiting`, which may be null, counts the jobs that wait.
  WorkerPool(size_t threads, size_t max_waiting, std::atomic<size_t>* waiting = nullptr);
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  /// False, and the job is not taken, when all threads are busy and max_waiting wait already. A job must not
  /// throw.
  bool submit(std::function<void()> job, bool is_short);
  /// From within a job: runs another one that is short on the same thread; false when none waits, or when too
  /// many are within each other already.
  bool run_another();

 private:
  struct Job {
    std::function<void()> run;
    bool is_short = false;
  };
  void run();
  std::function<void()> take(std::deque<Job>::iterator place);

  const size_t max_waiting_;
  std::atomic<size_t>* const waiting_;
  std::mutex mutex_;
  std::condition_variable work_;
  std::deque<Job> jobs_;   // guarded by mutex_
  size_t idle_ = 0;        // guarded by mutex_
  bool stopping_ = false;  // guarded by mutex_
  std::vector<std::jthread> threads_;
};

}  // namespace nacre
