#pragma once

#include <cstddef>
#include <list>
#include <mutex>

#include "serve/call_context.h"

namespace nacre {

/// How many calls may compute at the same time, and how many may wait for it: so that there are never more
/// busy threads than CPUs, whatever transports bring in. First come, first served. Thread-safe.
class ComputeSlots {
 public:
  /// At least one slot.
  ComputeSlots(size_t slots, size_t max_waiting);

  /// A slot that is held; gives it back when it goes.
  class Lease {
   public:
    explicit Lease(ComputeSlots* slots) : slots_(slots) {}
    ~Lease() {
      if (slots_ != nullptr) slots_->release();
    }
    Lease(Lease&& other) noexcept : slots_(other.slots_) { other.slots_ = nullptr; }
    Lease& operator=(Lease&&) = delete;
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;

   private:
    ComputeSlots* slots_;
  };

  /// Waits for a slot. kResourceExhausted at once when max_waiting wait already; kDeadlineExceeded or
  /// kCancelled when the call is of no use any more.
  RpcResult<Lease> acquire(const CallContext& context);
  /// Waits for a slot before all others, however many there are: for work that many wait for.
  /// kDeadlineExceeded and kCancelled as above.
  RpcResult<Lease> acquire_first(const CallContext& context);

  [[nodiscard]] size_t slots() const { return slots_; }
  /// Slots that nobody holds now.
  [[nodiscard]] size_t free() const;
  /// Calls that wait now.
  [[nodiscard]] size_t waiting() const;

 private:
  struct Waiter;
  RpcResult<Lease> wait(std::unique_lock<std::mutex>& lock, std::list<Waiter*>::iterator before,
                        const CallContext& context);
  bool take_free();
  void release();

  const size_t slots_;
  const size_t max_waiting_;
  mutable std::mutex mutex_;
  size_t free_;               // guarded by mutex_
  std::list<Waiter*> queue_;  // guarded by mutex_; the first gets the next slot
};

}  // namespace nacre
