#include "image/limits.h"

#include <algorithm>
#include <string>

namespace nacre {
namespace {

// No option goes beyond this: it keeps every product of sizes far inside 64 bits.
constexpr int64_t kMaxSide = int64_t{1} << 24;

}  // namespace

Status check_declared_size(int64_t width, int64_t height, const ImageLimits& limits) {
  const std::string declared =
      "declares " + std::to_string(width) + " x " + std::to_string(height) + " pixels";
  if (width <= 0 || height <= 0) return {StatusCode::kBadData, declared};
  const int64_t max_side = std::min(limits.max_side, kMaxSide);
  if (width > max_side || height > max_side) {
    return {StatusCode::kLimit, declared + ", over the limit of " + std::to_string(max_side) + " a side"};
  }
  if (width * height > limits.max_pixels) {
    return {StatusCode::kLimit,
            declared + ", over the limit of " + std::to_string(limits.max_pixels) + " in all"};
  }
  return {};
}

}  // namespace nacre
