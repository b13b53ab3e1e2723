#pragma once

#include <algorithm>
#include <cstdint>

#include "engine/parallel.h"
#include "layers/window.h"

namespace nacre {

/// row(n, oy) for every row of the output of every image, in chunks that are worth a thread's while, and some
/// for each thread. Rows of windows that overlap go together: the inputs that two chunks share are read
/// twice.
template <typename Row>
void for_output_rows(const ChannelWindow& g, int64_t batch, int threads, const Row& row) {
  constexpr int64_t kChunkElements = 8192;
  constexpr int64_t kRowsPerSharedRow = 8;
  constexpr int64_t kLeastElements = 2048;
  constexpr int64_t kChunksPerThread = 2;
  const int64_t rows = g.window.y.out;
  const int64_t row_elements = g.window.x.out * g.channels;
  const int64_t shared = g.window.y.window - g.window.y.stride;
  int64_t chunk = std::max({int64_t{1}, kChunkElements / row_elements, kRowsPerSharedRow * shared});
  if (threads > 1) {
    const int64_t share = chunks_of(batch * rows, kChunksPerThread * threads);
    chunk = std::min(chunk, std::max(share, chunks_of(kLeastElements, row_elements)));
  }
  parallel_for(chunks_of(batch * rows, chunk), threads, [&](int64_t i, int /*worker*/) {
    const int64_t end = std::min(batch * rows, (i + 1) * chunk);
    for (int64_t line = i * chunk; line < end; ++line) row(line / rows, line % rows);
  });
}

}  // namespace nacre
