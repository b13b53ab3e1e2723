#pragma once

#include <cstdint>

namespace nacre {

/// Whether none of x[0 .. n) is NaN or infinite.
bool all_finite(int64_t n, const float* x);

}  // namespace nacre
