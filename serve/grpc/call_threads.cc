#include "serve/grpc/call_threads.h"

#include <iterator>
#include <new>
#include <utility>

namespace nacre {

QueuedCall::QueuedCall(CallThreads& threads) : threads_(threads) {
  const std::lock_guard lock(threads_.mutex_);
  ++threads_.calls_;
}

QueuedCall::~QueuedCall() {
  const std::lock_guard lock(threads_.mutex_);
  if (--threads_.calls_ == 0) threads_.no_calls_.notify_all();
}

CallThreads::CallThreads(AnswerThreads::Options options, size_t max_unsent_bytes)
    : max_unsent_bytes_(max_unsent_bytes), answers_([&options] {
        // gRPC's threads would wake each other in there.
        options.receivers = 1;
        return options;
      }()) {}

void CallThreads::start(std::unique_ptr<grpc::ServerCompletionQueue> queue) {
  queue_ = std::move(queue);
  answers_.start([this](bool wait) { return receive(wait); });
}

void CallThreads::stop() {
  if (queue_ == nullptr) return;
  {
    // What is asked of gRPC from now on fails; but nothing may be asked of a queue that has been shut down.
    std::unique_lock lock(mutex_);
    no_calls_.wait(lock, [this] { return calls_ == 0; });
  }
  queue_->Shutdown();
  answers_.stop();
  queue_ = nullptr;
}

CallThreads::UnsentReplies::iterator CallThreads::add_unsent(grpc::ServerContext& call, size_t bytes) {
  const std::lock_guard lock(mutex_);
  for (Unsent& oldest : unsent_) {
    if (unsent_bytes_ + bytes <= max_unsent_bytes_) break;
    // It stays in the list until gRPC has given it up.
    unsent_bytes_ -= std::exchange(oldest.bytes, 0);
    oldest.call->TryCancel();
  }
  unsent_.push_back({&call, bytes});
  unsent_bytes_ += bytes;
  return std::prev(unsent_.end());
}

void CallThreads::remove_unsent(UnsentReplies::iterator reply) {
  const std::lock_guard lock(mutex_);
  unsent_bytes_ -= reply->bytes;
  unsent_.erase(reply);
}

AnswerThreads::Received CallThreads::receive(bool wait) {
  void* tag = nullptr;
  bool ok = false;
  const gpr_timespec until = wait ? gpr_inf_future(GPR_CLOCK_MONOTONIC) : gpr_inf_past(GPR_CLOCK_MONOTONIC);
  // A look may take in bytes that are no whole call, and miss one that lies behind them.
  constexpr int kLooks = 4;
  auto next = grpc::CompletionQueue::TIMEOUT;
  for (int look = 0; look < kLooks && next == grpc::CompletionQueue::TIMEOUT; ++look)
    next = queue_->AsyncNext(&tag, &ok, until);
  if (next == grpc::CompletionQueue::SHUTDOWN) return AnswerThreads::Received::kEnd;
  if (next == grpc::CompletionQueue::TIMEOUT) return AnswerThreads::Received::kNothing;
  try {
    static_cast<CallEvent*>(tag)->happened(ok);
  } catch (const std::bad_alloc&) {  // that call is lost, the others go on
  }
  return AnswerThreads::Received::kEvent;
}

}  // namespace nacre
