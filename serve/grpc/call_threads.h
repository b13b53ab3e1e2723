#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <list>
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
  /// Replies that wait for their clients may have `max_unsent_bytes` together.
  explicit CallThreads(AnswerThreads::Options options, size_t max_unsent_bytes = size_t{256} << 20);
  ~CallThreads() { stop(); }
  CallThreads(const CallThreads&) = delete;
  CallThreads& operator=(const CallThreads&) = delete;

  void start(std::unique_ptr<grpc::ServerCompletionQueue> queue);
  /// Waits until all calls are over, for which the server must have been shut down.
  void stop();

  [[nodiscard]] grpc::ServerCompletionQueue* queue() const { return queue_.get(); }
  [[nodiscard]] AnswerThreads& answers() { return answers_; }

  /// A reply that gRPC holds until its client takes it.
  struct Unsent {
    grpc::ServerContext* call = nullptr;
    size_t bytes = 0;
  };
  using UnsentReplies = std::list<Unsent>;
  /// Notes one; when too much waits, the calls that have been at it for longest are cancelled.
  UnsentReplies::iterator add_unsent(grpc::ServerContext& call, size_t bytes);
  void remove_unsent(UnsentReplies::iterator reply);

 private:
  friend QueuedCall;
  AnswerThreads::Received receive(bool wait);

  std::unique_ptr<grpc::ServerCompletionQueue> queue_;
  std::mutex mutex_;
  size_t calls_ = 0;  // guarded by mutex_; that gRPC is not done with
  std::condition_variable no_calls_;
  const size_t max_unsent_bytes_;
  UnsentReplies unsent_;     // guarded by mutex_; the oldest first
  size_t unsent_bytes_ = 0;  // guarded by mutex_
  AnswerThreads answers_;
};

}  // namespace nacre
