#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <new>
#include <thread>

#include "serve/answer_threads.h"

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

  /// Asks gRPC for the next call by `await`. When there is no memory for it, ask_next_at_last() does.
  template <typename Await>
  void ask_next(const Await& await) {
    try {
      await();
      owes_next_ = false;
    } catch (const std::bad_alloc&) {
      owes_next_ = true;
    }
  }
  /// To be called before the call goes: until somebody else awaits the next one, it stays.
  template <typename Await>
  void ask_next_at_last(const Await& await) {
    while (owes_next_) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      ask_next(await);
    }
  }

 private:
  CallThreads& threads_;
  bool owes_next_ = false;  ///< nobody awaits the next call
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

/// gRPC's completion queue, and the threads that answer what comes of it; no other thread polls gRPC's
/// sockets. Thread-safe.
class CallThreads {
 public:
  explicit CallThreads(AnswerThreads::Options options);
  ~CallThreads() { stop(); }
  CallThreads(const CallThreads&) = delete;
  CallThreads& operator=(const CallThreads&) = delete;

  void start(std::unique_ptr<grpc::ServerCompletionQueue> queue);
  /// Waits until all calls are over, for which the server must have been shut down.
  void stop();

  [[nodiscard]] grpc::ServerCompletionQueue* queue() const { return queue_.get(); }
  [[nodiscard]] AnswerThreads& answers() { return answers_; }

 private:
  friend QueuedCall;
  AnswerThreads::Received receive(bool wait);

  std::unique_ptr<grpc::ServerCompletionQueue> queue_;
  std::mutex mutex_;
  size_t calls_ = 0;  // guarded by mutex_; that gRPC is not done with
  std::condition_variable no_calls_;
  AnswerThreads answers_;
};

}  // namespace nacre
