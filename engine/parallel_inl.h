#pragma once

#include <algorithm>

#include "engine/parallel.h"
#include "engine/thread_team.h"

namespace nacre {

template <typename Work>
void with_team(int threads, const Work& work) {
  ThreadTeam::with(
      threads, [](const void* argument) { (*static_cast<const Work*>(argument))(); }, &work);
}

template <typename Body>
void parallel_for(int64_t chunks, int threads, const Body& body) {
  const auto loop = [](const void* argument, int64_t chunk, int worker) {
    (*static_cast<const Body*>(argument))(chunk, worker);
  };
  ThreadTeam::for_chunks(chunks, threads, loop, &body);
}

template <typename Body>
void for_elements(int64_t count, int threads, const Body& body) {
  constexpr int64_t kChunk = 4096;
  parallel_for(chunks_of(count, kChunk), threads, [&](int64_t chunk, int /*worker*/) {
    body(chunk * kChunk, std::min(count, (chunk + 1) * kChunk));
  });
}

}  // namespace nacre
