#pragma once

#include <cstdint>

#include "engine/status.h"
#include "image/decode.h"

namespace nacre {

/// Checks a declared size in pixels against `limits` before anything of that size is allocated: kBadData when
/// a side is 0, kLimit when it is too large. After success, width * height * 64 fits in int64_t.
Status check_declared_size(int64_t width, int64_t height, const ImageLimits& limits);

}  // namespace nacre
