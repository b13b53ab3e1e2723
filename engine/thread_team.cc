#include "engine/thread_team.h"

#include <omp.h>
#include <sched.h>

#include <algorithm>
#include <exception>

#include "engine/move_thread.h"
#include "engine/parallel.h"

namespace nacre {
namespace {

/// How often a waiting thread looks before it sleeps: some 100 us. Waking up costs a fraction of that, and on
/// a busy machine far more.
constexpr int kLooks = 5000;

void pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#endif
}

/// Returns when `value` is no longer `old`.
void wait_while(const std::atomic<uint32_t>& value, uint32_t old) {
  for (int look = 0; look < kLooks; ++look) {
    if (value.load(std::memory_order_acquire) != old) return;
    pause();
  }
  value.wait(old, std::memory_order_acquire);
}

/// Moves the calling thread off a CPU. False when it may not run on as many others as there are threads for
/// them: it would come back.
bool leave_cpu(int cpu, int threads) {
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return false;
  cpu_set_t others = allowed;
  CPU_CLR(cpu, &others);
  return CPU_COUNT(&others) >= threads && move_thread(0, others, allowed);
}

}  // namespace

thread_local ThreadTeam* ThreadTeam::current = nullptr;

void ThreadTeam::with(int threads, void (*work)(const void* argument), const void* argument) {
  if (threads <= 1 || current != nullptr || omp_in_parallel() != 0) return work(argument);
  ThreadTeam team;
  std::exception_ptr thrown;  // nothing may leave a parallel region
#pragma omp parallel num_threads(std::min(threads, kMaxThreads)) shared(team, thrown)
  {
    if (omp_get_thread_num() == 0) {
      team.size_ = omp_get_num_threads();  // they may be fewer than asked for
      current = &team;
      try {
        work(argument);
      } catch (...) {
        thrown = std::current_exception();
      }
      current = nullptr;
      team.dismissed_ = true;
      team.start_loop();
    } else {
      team.serve(omp_get_thread_num());
    }
  }
  if (thrown != nullptr) std::rethrow_exception(thrown);
}

void ThreadTeam::for_chunks(int64_t chunks, int threads, Loop loop, const void* body) {
  const int wanted = static_cast<int>(std::min<int64_t>(threads, chunks));
  if (wanted > 1 && current != nullptr) return current->run(chunks, wanted, loop, body);
  if (wanted <= 1 || omp_in_parallel() != 0) {
    for (int64_t chunk = 0; chunk < chunks; ++chunk) loop(body, chunk, 0);
    return;
  }
  with_team(wanted, [&] { current->run(chunks, wanted, loop, body); });
}

void ThreadTeam::run(int64_t chunks, int threads, Loop loop, const void* body) {
  sharing_ = std::min(threads, size_);
  for (int i = 0; i < sharing_; ++i) {
    Share& share = shares_[static_cast<size_t>(i)];
    share.next.store(chunks * i / sharing_, std::memory_order_relaxed);
    share.end = chunks * (i + 1) / sharing_;
  }
  loop_body_ = loop;
  body_ = body;
  first_cpu_ = sched_getcpu();
  all_finished_ += static_cast<uint32_t>(size_ - 1);
  start_loop();

  current = nullptr;  // a loop within this one is a plain loop
  take_chunks(0);
  current = this;
  uint32_t finished = 0;
  while ((finished = finished_.load(std::memory_order_acquire)) != all_finished_)
    wait_while(finished_, finished);
}

void ThreadTeam::start_loop() {
  loop_.fetch_add(1);
  loop_.notify_all();
}

void ThreadTeam::serve(int worker) {
  bool may_leave = true;
  for (uint32_t loop = 0;; ++loop) {
    wait_while(loop_, loop);
    if (dismissed_) return;
    // Linux starts a thread, or wakes it, where the first one is at work even if a CPU is idle; then they
    // take turns for milliseconds, until its next tick.
    if (may_leave && sched_getcpu() == first_cpu_) may_leave = leave_cpu(first_cpu_, size_ - 1);
    take_chunks(worker);
    finished_.fetch_add(1);
    finished_.notify_one();
  }
}

void ThreadTeam::take_chunks(int worker) {
  if (worker >= sharing_) return;
  for (int i = 0; i < sharing_; ++i) {
    Share& share = shares_[static_cast<size_t>((worker + i) % sharing_)];
    for (;;) {
      const int64_t chunk = share.next.fetch_add(1, std::memory_order_relaxed);
      if (chunk >= share.end) break;
      loop_body_(body_, chunk, worker);
    }
  }
}

}  // namespace nacre
