#include "engine/image_loop.h"

#include <algorithm>

#include "engine/plan.h"

namespace nacre {
namespace {

/// What the inputs and the output of one unit may take for the images of a round: half of a usual
/// second-level cache.
constexpr int64_t kCacheBytes = int64_t{1} << 20;
/// A round reads the variables again, which are better spread over more images when they are so many times
/// larger.
constexpr int64_t kMostVariables = 16;

int64_t row_bytes(const Shape& shape) {
  return shape.elements_per_row() * static_cast<int64_t>(sizeof(float));
}

/// Bytes of one image that unit `i` reads, but for the graph's input, and writes.
int64_t bytes_of_image(const std::vector<Unit>& units, size_t i) {
  int64_t bytes = row_bytes(units[i].operation->info().output);
  for (const int value : units[i].inputs) {
    if (value > 0) bytes += row_bytes(units[static_cast<size_t>(value) - 1].operation->info().output);
  }
  return bytes;
}

/// Of a unit's variables, as they lie or packed: it may read either.
int64_t variable_bytes(const OperatorInfo& info) {
  int64_t floats = 0;
  for (const VariableSpec& variable : info.variables) floats += variable.shape.num_elements();
  return std::max(static_cast<int64_t>(info.packed_bytes), floats * static_cast<int64_t>(sizeof(float)));
}

/// For each unit, whether no later one reads anything but its output of all that is there by then.
std::vector<bool> find_cuts(const std::vector<Unit>& units) {
  std::vector<bool> cuts(units.size(), false);
  int oldest = static_cast<int>(units.size());  // value that is read behind the unit
  for (size_t i = units.size(); i-- > 0;) {
    cuts[i] = oldest > static_cast<int>(i);
    for (const int value : units[i].inputs) oldest = std::min(oldest, value);
  }
  return cuts;
}

}  // namespace

ImageLoop choose_image_loop(const std::vector<Unit>& units, int64_t batch, int threads, Mode mode) {
  const std::vector<bool> cuts = find_cuts(units);
  ImageLoop loop;
  int64_t most = 1;  // bytes of an image, of the units so far
  for (size_t i = 0; i < units.size(); ++i) {
    if (mode == Mode::kTraining && !units[i].operation->info().forwards_rows) break;
    most = std::max(most, bytes_of_image(units, i));
    const int64_t rows = std::clamp<int64_t>(kCacheBytes / most, 1, batch);
    if (variable_bytes(units[i].operation->info()) > kMostVariables * rows * bytes_of_image(units, i)) break;
    if (!cuts[i]) continue;
    loop.units = i + 1;
    loop.rows = rows;
  }
  if (loop.units < 2 || loop.rows * threads >= batch) return {};
  return loop;
}

}  // namespace nacre
