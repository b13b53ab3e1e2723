#pragma once

#include <array>
#include <cstdint>

namespace nacre {

// Products of a matrix with many zeros: engine/live_rows-inl.h.
inline constexpr int64_t kLiveWidth = 64;   ///< columns that are summed at once
inline constexpr int64_t kLiveDepth = 112;  ///< terms of a sum, at most; LiveBits has as many bits

/// Which elements of a row are not zero: a bit for each.
using LiveBits = std::array<uint64_t, 2>;
static_assert(kLiveDepth <= 128);

/// A row of a matrix that is to be summed. Those that are summed together lie behind each other and have one
/// list of terms.
struct LiveRow {
  int32_t row;
  int32_t terms;
  int32_t together;  ///< of the first of them: how many they are
};

/// What becomes of sums.
enum class LiveSum {
  kStore,
  kAdd,       ///< added to what is there
  kContinue,  ///< which began with what is there
};

/// Where sums go: those of row r to c + r * step.
struct LiveSums {
  float* c;
  int64_t step;
  LiveSum kind;
};

}  // namespace nacre
