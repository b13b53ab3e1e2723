#include "engine/shape_text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace nacre {

std::string batch_shape(const Shape& shape) {
  if (shape.rank() == 0) return shape.to_string();
  return fmt::format("[N{}{}]", shape.rank() > 1 ? ", " : "", fmt::join(shape.dims().subspan(1), ", "));
}

}  // namespace nacre
