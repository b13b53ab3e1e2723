#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <utility>

namespace nacre {

// Products of a matrix with many zeros, dispatched at run time as in engine/gemm.h.
//
// Behind a relu half of all elements are zeros, often more. A row of the product is summed over the others of
// its row alone, which it lists; a zero adds nothing to a sum. With a list of its own each multiply-add loads
// its vector of the other matrix, and waits for it. Rows are mostly alive in much the same places: then
// several share a list of what is alive in any of them, and a vector is loaded once for all. What a row has
// of another's list are zeros, which change no bit (the other matrix must be finite). So the bits of a row of
// the product depend on that row alone.

inline constexpr int64_t kLiveWidth = 64;    ///< columns that are summed at once
inline constexpr int64_t kLiveDepth = 112;   ///< terms of a sum, at most; LiveBits has as many bits
inline constexpr int64_t kMostLiveRows = 6;  ///< that share a list

/// Which elements of a row are not zero (a NaN is not): a bit for each.
using LiveBits = std::array<uint64_t, 2>;
static_assert(kLiveDepth <= 128);

inline int32_t terms_of(const LiveBits& alive) {
  return std::popcount(alive[0]) + std::popcount(alive[1]);
}

/// What is alive in any of some rows, and how many terms these have.
struct LiveUnion {
  LiveBits alive{};
  int64_t own = 0;

  void take(const LiveBits& row) {
    alive[0] |= row[0];
    alive[1] |= row[1];
    own += terms_of(row);
  }
};
/// Of `count` rows, which are `lda` apart.
LiveUnion live_in_any(int64_t count, int64_t depth, const float* a, int64_t lda);

/// Whether rows with `own` terms of their own take less time with one list of `shared` terms.
inline bool should_share(int64_t rows, int64_t shared, int64_t own) {
  return rows * shared * 4 <= own * 5;
}

/// A row of a matrix that is to be summed. Those that are summed together lie behind each other and have one
/// list of terms.
struct LiveRow {
  int32_t row;
  int32_t terms;
  int32_t together;  ///< of the first of them: how many they are
};

/// Rows of a matrix, `lda` apart, and where their lists go: those of rows[i] and what is summed together with
/// it to terms[i * depth] and values[i * depth] on, the values term by term.
struct LiveLists {
  int64_t depth;
  const float* a;
  int64_t lda;
  LiveBits* alive;  ///< of each row of a
  LiveRow* rows;
  uint8_t* terms;
  float* values;

  [[nodiscard]] LiveLists from(int64_t row) const {
    return {depth, a, lda, alive, rows + row, terms + row * depth, values + row * depth};
  }
};
/// Lists `count` rows, each together with its neighbours if that takes less time; `sorts`: by the length of
/// their lists before.
void list_live_rows(int64_t count, const LiveLists& lists, bool sorts);

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

/// The lists and the other factor of a product: (k, j) of it lies at b + k * line + j, in panels as
/// pack_b makes them, or with a panel_stride of 0 all columns side by side.
struct LiveProduct {
  const LiveRow* rows;
  const uint8_t* terms;
  const float* values;
  const float* b;
  int64_t line;
  int64_t panel_stride;
};
/// The sums of `count` rows, as list_live_rows lists them for that depth, over up to kLiveWidth columns. What
/// lies behind these in a row of sums may be written, too.
void sum_live_rows(int64_t count, int64_t depth, const LiveProduct& product, int64_t columns,
                   const LiveSums& sums, LiveAhead& ahead);

}  // namespace nacre
