#pragma once

#include <cstdint>

namespace nacre {

/// Calls work() with a team of up to `threads` threads at hand for every parallel_for within it, which then
/// starts sooner. `work` must not throw.
template <typename Work>
void with_team(int threads, const Work& work);

/// Runs body(chunk, worker) for every chunk in [0, chunks), on up to `threads` threads; `worker` is in [0,
/// threads). The caller cuts the work into chunks that do not depend on the number of threads, and combines
/// partial results in the order of the chunks: then any number of threads gives the same bits. Which worker
/// runs which chunk is not fixed, so a worker's scratch memory must not carry anything from one chunk to the
/// next. `body` must not throw.
template <typename Body>
void parallel_for(int64_t chunks, int threads, const Body& body);

/// Number of chunks of `chunk` items that cover `count`.
constexpr int64_t chunks_of(int64_t count, int64_t chunk) {
  return (count + chunk - 1) / chunk;
}

/// Runs body(begin, end) over [0, count) in chunks of a fixed size, for work on elements that do not depend
/// on each other.
template <typename Body>
void for_elements(int64_t count, int threads, const Body& body);

/// The default number of threads: the CPUs that the scheduler and the cgroup quota allow, at least 1.
int available_threads();

}  // namespace nacre

#include "engine/parallel_inl.h"  // IWYU pragma: export
