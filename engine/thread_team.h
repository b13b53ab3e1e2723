#pragma once

#include <array>
#include <atomic>
#include <cstdint>

namespace nacre {

/// Threads that stay together for a while and share out one loop after the other, such as all of a forward
/// pass. Starting a loop is a store and a read of one cache line for each thread, where a parallel region of
/// OpenMP takes several; an operator on one image is done in microseconds, so that matters. The threads
/// themselves are OpenMP's.
///
/// The first thread is the caller's: it alone may start loops, one at a time. Between loops the others look
/// for the next for a tenth of a millisecond, then they sleep. They leave the CPU of the first one.
class ThreadTeam {
 public:
  static constexpr int kMaxThreads = 128;

  /// Calls loop(chunk, worker) of `body`.
  using Loop = void (*)(const void* body, int64_t chunk, int worker);

  /// Calls `work(argument)` while up to `threads` threads (at most kMaxThreads) are ready for its loops.
  /// Within a team's loop, or a parallel region of somebody else, it is a plain call, and so it is within a
  /// team that has its loops already.
  static void with(int threads, void (*work)(const void* argument), const void* argument);

  /// Runs every chunk of [0, chunks) once and returns when all are done: on the first `threads` threads of
  /// the caller's team, without one on a team made for this loop, or on the calling thread alone. Each thread
  /// begins with a share of neighbouring chunks, the same for the same numbers, so that it finds in its cache
  /// what it left there in the loop before; who is done early helps the others.
  static void for_chunks(int64_t chunks, int threads, Loop loop, const void* body);

 private:
  /// One thread's share of a loop, on a cache line of its own.
  struct alignas(64) Share {
    std::atomic<int64_t> next = 0;
    int64_t end = 0;
  };

  ThreadTeam() = default;
  void serve(int worker);
  void take_chunks(int worker);
  void run(int64_t chunks, int threads, Loop loop, const void* body);
  void start_loop();

  static thread_local ThreadTeam* current;  ///< that the calling thread may start loops with

  int size_ = 1;
  uint32_t all_finished_ = 0;  ///< what finished_ is when everybody is done
  // What the first thread writes before it counts loop_ up, and the others read after that.
  Loop loop_body_ = nullptr;
  const void* body_ = nullptr;
  int sharing_ = 0;     ///< threads that have a share
  int first_cpu_ = -1;  ///< where the first thread runs
  bool dismissed_ = false;
  alignas(64) std::atomic<uint32_t> loop_ = 0;      ///< counts the loops
  alignas(64) std::atomic<uint32_t> finished_ = 0;  ///< counts the other threads that were done with one
  std::array<Share, kMaxThreads> shares_;
};

}  // namespace nacre
