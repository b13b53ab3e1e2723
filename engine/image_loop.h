#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/op_def.h"

namespace nacre {

struct Unit;

/// The first units of a plan, whose forward a few images go through from the first unit to the last before
/// the next images begin: what a unit writes is in the second-level cache when the next one reads it. Threads
/// take images in turn.
struct ImageLoop {
  size_t units = 0;  ///< how many; 0: there is no such loop
  int64_t rows = 0;  ///< images that go together
};

/// Units belong to the loop as long as the images of a round have at least as many bytes as the unit's packed
/// variables, which every round reads again; and it ends where one value holds all that later units read.
/// In training they must allow it (OperatorInfo::forwards_rows). None when that is fewer than two units, or
/// the whole batch is no more than a round for each thread.
///
/// `units` are those of the whole batch. The choice changes no bit: operators promise that a row's do not
/// depend on the batch.
ImageLoop choose_image_loop(const std::vector<Unit>& units, int64_t batch, int threads, Mode mode);

}  // namespace nacre
