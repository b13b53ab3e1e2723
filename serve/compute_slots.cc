#include "serve/compute_slots.h"

#include <algorithm>
#include <condition_variable>

namespace nacre {

struct ComputeSlots::Waiter {
  std::condition_variable_any woken;
  bool granted = false;
};

ComputeSlots::ComputeSlots(size_t slots, size_t max_waiting)
    : slots_(std::max<size_t>(slots, 1)), max_waiting_(max_waiting), free_(slots_) {}

RpcResult<ComputeSlots::Lease> ComputeSlots::acquire(const CallContext& context) {
  if (const RpcStatus useful = context.check(); !useful.ok()) return useful;
  std::unique_lock lock(mutex_);
  if (take_free()) return Lease(this);
  if (queue_.size() >= max_waiting_) {
    return RpcStatus(RpcCode::kResourceExhausted,
                     "too many requests: " + std::to_string(queue_.size()) + " wait already");
  }
  return wait(lock, queue_.end(), context);
}

RpcResult<ComputeSlots::Lease> ComputeSlots::acquire_first(const CallContext& context) {
  std::unique_lock lock(mutex_);
  if (take_free()) return Lease(this);
  return wait(lock, queue_.begin(), context);
}

RpcResult<ComputeSlots::Lease> ComputeSlots::wait(std::unique_lock<std::mutex>& lock,
                                                  std::list<Waiter*>::iterator before,
                                                  const CallContext& context) {
  Waiter waiter;
  const auto place = queue_.insert(before, &waiter);
  waiter.woken.wait_until(lock, context.cancelled, context.deadline, [&] { return waiter.granted; });
  if (waiter.granted) return Lease(this);  // and off the queue already
  queue_.erase(place);
  lock.unlock();
  return context.check();
}

bool ComputeSlots::take_free() {
  if (free_ == 0) return false;
  --free_;
  return true;
}

void ComputeSlots::release() {
  const std::lock_guard lock(mutex_);
  if (queue_.empty()) {
    ++free_;
    return;
  }
  Waiter* const next = queue_.front();
  queue_.pop_front();
  next->granted = true;
  // Under the lock: the waiter lives on its own stack, and goes when it has the lock.
  next->woken.notify_one();
}

size_t ComputeSlots::free() const {
  const std::lock_guard lock(mutex_);
  return free_;
}

size_t ComputeSlots::waiting() const {
  const std::lock_guard lock(mutex_);
  return queue_.size();
}

}  // namespace nacre
