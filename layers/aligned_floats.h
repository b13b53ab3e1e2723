#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/memory.h"

namespace nacre {

/// `count` floats, rounded up to whole cache lines, which hold as many as the longest vector.
constexpr int64_t align_floats(int64_t count) {
  constexpr auto kFloats = static_cast<int64_t>(kAlignment / sizeof(float));
  return (count + kFloats - 1) / kFloats * kFloats;
}

/// Their bytes.
constexpr size_t float_bytes(int64_t count) {
  return static_cast<size_t>(align_floats(count)) * sizeof(float);
}

}  // namespace nacre
