#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace nacre {

/// A tag of gRPC's completion queue: what is told that an operation has ended.
class CallEvent {
 public:
  virtual void happened(bool ok) = 0;

 protected:
  CallEvent() = default;
  ~CallEvent() = default;  // nobody deletes a call by its tags
  CallEvent(const CallEvent&) = default;
  CallEvent& operator=(const CallEvent&) = default;
};

class CallThreads;

/// What a call is counted by, from before its arrival until gRPC is done with it.
class QueuedCall {
 public:
  QueuedCall(const QueuedCall&) = delete;
  QueuedCall& operator=(const QueuedCall&) = delete;

 protected:
  explicit QueuedCall(CallThreads& threads);
  ~QueuedCall();
  [[nodiscard]] CallThreads& threads() const { return threads_; }

 private:
  CallThreads& threads_;
};

/// One that calls a function of its owner.
template <typename Owner>
class BoundEvent final : public CallEvent {
 public:
  using Function = void (Owner::*)(bool ok);
  BoundEvent(Owner& owner, Function function) : owner_(owner), function_(function) {}
  void happened(bool ok) override { (owner_.*function_)(ok); }

 private:
  Owner& owner_;
  Function function_;
};

/// gRPC's completion queue, and the threads that wait for it. Whoever finds a whole call there answers it and
/// sends the reply: nothing is handed from thread to thread, and no other thread polls gRPC's sockets. While
/// as many answer as may, one thread more keeps receiving. Thread-safe.
class CallThreads {
 public:
  struct Options {
    size_t at_once = 1;                      ///< calls that are answered at the same time
    size_t max_waiting = 1024;               ///< calls that wait for one of those
    std::atomic<size_t>* waiting = nullptr;  ///< counts them; may be null
  };

  explicit CallThreads(const Options& options);
  ~CallThreads() { stop(); }
  CallThreads(const CallThreads&) = delete;
  CallThreads& operator=(const CallThreads&) = delete;

  void start(std::unique_ptr<grpc::ServerCompletionQueue> queue);
  /// Waits until all calls are over, for which the server must have been shut down.
  void stop();

  [[nodiscard]] grpc::ServerCompletionQueue* queue() const { return queue_.get(); }

  /// False, and the answer is not taken, when as many are being answered and wait as may be. For events: the
  /// thread that has told of one comes for it next. It must not throw.
  bool submit(std::function<void()> answer, bool is_short);
  /// CallContext::other_calls: a short one of what waits, or comes just now.
  bool answer_another();

 private:
  friend QueuedCall;
  struct Job {
    std::function<void()> answer;
    bool is_short = false;
  };
  enum class Polled : uint8_t { kEvent, kNothing, kEnd };
  using Lock = std::unique_lock<std::mutex>;

  void serve();
  void await_turn(Lock& lock);
  Polled poll(bool wait);
  bool answer_next(Lock& lock);
  std::function<void()> take(std::deque<Job>::iterator place);

  Options options_;
  std::unique_ptr<grpc::ServerCompletionQueue> queue_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Job> jobs_;               // guarded by mutex_
  size_t answering_ = 0;               // guarded by mutex_
  std::atomic<bool> polling_ = false;  // changed with mutex_ held; a thread waits within gRPC
  bool watched_ = false;               // guarded by mutex_; a thread looks now and then
  bool ended_ = false;                 // guarded by mutex_
  size_t calls_ = 0;                   // guarded by mutex_; that gRPC is not done with
  std::condition_variable no_calls_;
  std::vector<std::jthread> threads_;
};

}  // namespace nacre
