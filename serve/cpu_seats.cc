#include "serve/cpu_seats.h"

#include <sys/rseq.h>
#include <unistd.h>

#include <algorithm>

#include "engine/move_thread.h"

namespace nacre {
namespace {

/// Of a thread that is at work: more than most requests take.
constexpr std::chrono::microseconds kLong{500};

/// The word in which Linux tells this thread, and who has its address, on which CPU it runs; null where it
/// does not (before Linux 4.18).
const uint32_t* told_cpu() {
  if (__rseq_size == 0) return nullptr;
  const char* const thread = static_cast<const char*>(__builtin_thread_pointer());
  return &reinterpret_cast<const struct rseq*>(thread + __rseq_offset)->cpu_id;
}

/// The system's number of this thread.
pid_t own_number() {
  thread_local const pid_t number = gettid();
  return number;
}

}  // namespace

CpuSeats& CpuSeats::of_process() {
  static CpuSeats seats;
  return seats;
}

CpuSeats::Place::Place(CpuSeats& seats, const void* group, bool at_work)
    : seats_(seats),
      group_(group),
      at_work_(at_work),
      thread_(own_number()),
      told_(told_cpu()),
      chosen_(static_cast<uint32_t>(std::max(sched_getcpu(), 0))),
      since_(std::chrono::steady_clock::now()) {
  const std::lock_guard lock(seats_.mutex_);
  next_ = seats_.places_;
  if (next_ != nullptr) next_->before_ = &next_;
  before_ = &seats_.places_;
  seats_.places_ = this;
}

CpuSeats::Place::~Place() {
  Lock lock(seats_.mutex_);
  // Before that it would not learn where it may run.
  seats_.moved_.wait(lock, [this] { return !is_moved_; });
  *before_ = next_;
  if (next_ != nullptr) next_->before_ = before_;
}

uint32_t CpuSeats::Place::cpu() const {
  return told_ == nullptr || on_its_way_ ? chosen_.load() : __atomic_load_n(told_, __ATOMIC_RELAXED);
}

CpuSeats::Seat::Seat(CpuSeats& seats, const void* group) : Place(seats, group, true) {
  if (is_shared()) leave_shared_cpu();
  seats_.help(*this);
}

bool CpuSeats::Seat::is_shared() const {
  const std::lock_guard lock(seats_.mutex_);
  for (const Place* other = seats_.places_; other != nullptr; other = other->next_)
    if (other != this && other->at_work_ && other->cpu() == cpu()) return true;
  return false;
}

void CpuSeats::Seat::leave_shared_cpu() {
  cpu_set_t allowed;
  cpu_set_t there;
  CPU_ZERO(&there);
  {
    Lock lock(seats_.mutex_);
    seats_.moved_.wait(lock, [this] { return !is_moved_; });
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
    const cpu_set_t free = seats_.free_for(*this, allowed);
    uint32_t cpu = 0;
    while (cpu < CPU_SETSIZE && !CPU_ISSET(cpu, &free)) ++cpu;
    if (cpu == CPU_SETSIZE) return;
    CPU_SET(cpu, &there);
    chosen_ = cpu;
    on_its_way_ = true;  // nobody else goes there
  }
  // Without the lock: it takes a while, for which nobody else should wait. It stays there for now, and Linux
  // may move it as before.
  move_thread(0, there, allowed);
  on_its_way_ = false;
}

/// Of the CPUs that are allowed, those where nobody else is at work. Under the lock.
cpu_set_t CpuSeats::free_for(const Place& place, const cpu_set_t& allowed) const {
  cpu_set_t free = allowed;
  for (const Place* other = places_; other != nullptr; other = other->next_)
    if (other != &place && other->at_work_) CPU_CLR(other->cpu(), &free);
  return free;
}

/// Moves those that may wait for the CPU of one that begins its work.
void CpuSeats::help(const Place& beginner) {
  Lock lock(mutex_);
  const auto long_ago = beginner.since_ - kLong;
  Place* next_woken = nullptr;
  Place* longest = nullptr;
  for (Place* place = places_; place != nullptr; place = place->next_) {
    if (place == &beginner) continue;
    if (!place->at_work_ && place->group_ == beginner.group_ && next_woken == nullptr) next_woken = place;
    if (place->at_work_ && place->since_ < long_ago &&
        (longest == nullptr || place->since_ < longest->since_))
      longest = place;
  }
  // One, which is there as long as the lock is held, and while it is moved.
  if (longest != nullptr) {
    longest->since_ = beginner.since_;  // another has its turn next
    move(*longest, lock);
  } else if (next_woken != nullptr) {
    move(*next_woken, lock);
  }
}

/// To where nobody is at work; which a thread that is there already, or sleeps, does not notice.
void CpuSeats::move(Place& place, Lock& lock) {
  cpu_set_t allowed;
  if (place.is_moved_ || place.on_its_way_ || sched_getaffinity(place.thread_, sizeof allowed, &allowed) != 0)
    return;
  const cpu_set_t free = free_for(place, allowed);
  if (CPU_COUNT(&free) == 0 || CPU_EQUAL(&free, &allowed) != 0) return;
  place.is_moved_ = true;
  lock.unlock();
  move_thread(place.thread_, free, allowed);
  lock.lock();
  place.is_moved_ = false;
  moved_.notify_all();
}

}  // namespace nacre
