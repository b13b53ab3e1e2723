#pragma once

#include <array>
#include <cstdint>
#include <utility>

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

/// Memory that will be read or written next: two runs of so many floats, a line of each of which (or of one,
/// by turns) is brought into the second-level cache with every term of a sum. More at once would stop the
/// sums.
struct LiveAhead {
  static constexpr int64_t kLine = 16;

  std::array<const float*, 2> at{};
  int64_t floats = 0;

  /// The halves of one run.
  static LiveAhead halves(const float* data, int64_t floats) {
    return {{data, data + floats / 2}, (floats + 1) / 2};
  }

  /// Behind `steps` terms that brought `lines` lines each; it ends up to that much behind the end.
  void advance(int64_t steps, int lines) {
    const int64_t count = floats > 0 ? steps * kLine : 0;
    at[0] += count;
    if (lines == 2) {
      at[1] += count;
    } else {
      std::swap(at[0], at[1]);
    }
    floats -= count * lines / 2;
  }
};

}  // namespace nacre
