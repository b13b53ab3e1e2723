#pragma once

#include <omp.h>

#include <algorithm>

#include "engine/parallel.h"

namespace nacre {

template <typename Body>
void parallel_for(int64_t chunks, int threads, const Body& body) {
  const int team = static_cast<int>(std::min<int64_t>(threads, chunks));
  if (team <= 1) {
    for (int64_t chunk = 0; chunk < chunks; ++chunk) body(chunk, 0);
    return;
  }
#pragma omp parallel for schedule(dynamic, 1) num_threads(team)
  for (int64_t chunk = 0; chunk < chunks; ++chunk) body(chunk, omp_get_thread_num());
}

template <typename Body>
void for_elements(int64_t count, int threads, const Body& body) {
  constexpr int64_t kChunk = 16384;
  parallel_for(chunks_of(count, kChunk), threads, [&](int64_t chunk, int /*worker*/) {
    body(chunk * kChunk, std::min(count, (chunk + 1) * kChunk));
  });
}

}  // namespace nacre
