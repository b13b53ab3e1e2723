// Products with a matrix of many zeros whose rows are alive in much the same places, for gemm_kernel.cc,
// compiled once for every instruction set: foreach_target.h flips HWY_TARGET_TOGGLE.
#if defined(NACRE_ENGINE_GEMM_SHARED_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef NACRE_ENGINE_GEMM_SHARED_INL_H
#undef NACRE_ENGINE_GEMM_SHARED_INL_H
#else
#define NACRE_ENGINE_GEMM_SHARED_INL_H
#endif

#include "engine/gemm_sparse-inl.h"
#include "engine/live_rows.h"

HWY_BEFORE_NAMESPACE();
namespace nacre::gemm {
namespace HWY_NAMESPACE {
namespace {

// B goes by in parts of kLiveDepth x kLiveWidth that stay in the first-level cache while many rows use them;
// sums wait in memory for the next part.
inline constexpr int64_t kMostSharedParts = ceil_div(kMaxDepth, kLiveDepth);
inline constexpr int64_t kSharingRows = 48;  ///< that use a part of B before the next
inline constexpr int64_t kWidePanels = kLiveWidth / kTileColumns;

/// Whether few enough elements are alive in any of some rows, by up to a sixth of the rows: the first that
/// say no are the last that are looked at.
inline bool is_shared(const SparseA& a, int64_t columns) {
  constexpr int64_t kPerVector = 8;        // what listing a vector of A takes, in multiply-adds of a vector
  constexpr int64_t kPerSum = 3;           // a sum that waits in memory
  if (columns < kLiveWidth) return false;  // lists are not worth while
  const int64_t vectors = ceil_div(columns, kTileColumns) * 2;
  const int64_t lists = a.parts() * kPerSum * vectors + ceil_div(a.depth, kLanes) * kPerVector;
  const int64_t rows = std::min<int64_t>(a.rows, kMostLiveRows);
  const int64_t samples = std::clamp<int64_t>(a.rows / (6 * rows), 1, 3);
  for (int64_t sample = 0; sample < samples; ++sample) {
    const float* const first = a.data + a.rows * sample / samples * a.ld;
    int64_t shared = 0;
    int64_t own = 0;
    for (int64_t part = 0; part < a.parts(); ++part) {
      const int64_t begin = a.begin(part);
      const LiveUnion all = live_in_any(rows, a.begin(part + 1) - begin, first + begin, a.ld);
      shared += terms_of(all.alive);
      own += all.own;
    }
    const bool pays = (shared * vectors + lists) * 10 < a.depth * vectors * 9;
    if (!pays || !should_share(rows, shared, own)) return false;
  }
  return true;
}

/// The part of B after `part` of the first panels of b, of which `columns` are left.
inline LiveAhead next_shared_part(const SparseA& a, int64_t columns, int64_t part, const float* b,
                                  int64_t panel_stride) {
  if (part + 1 == a.parts()) {
    columns -= kLiveWidth;
    b += kWidePanels * panel_stride;
    part = -1;
  }
  const int64_t floats = columns <= 0 ? 0 : (a.begin(part + 2) - a.begin(part + 1)) * kTileColumns;
  b += a.begin(part + 1) * kTileColumns;
  return {{b, columns > kTileColumns ? b + panel_stride : b}, floats};
}

/// Lists of a block of A, for groups of kSharingRows rows and the parts.
struct BlockLists {
  SparseA a;
  LiveRow rows[kMostSharedParts][kBlockRows];
  float* values;
  uint8_t* terms;

  /// `memory` has room for as many floats as A has, and bytes.
  BlockLists(const SparseA& block, float* memory)
      : a(block), values(memory), terms(reinterpret_cast<uint8_t*>(memory + a.rows * a.depth)) {
    LiveBits alive[kSharingRows];
    for (int64_t first = 0; first < a.rows; first += kSharingRows) {
      for (int64_t part = 0; part < a.parts(); ++part) {
        const float* const from = a.data + first * a.ld + a.begin(part);
        const int64_t at = place(first, part);
        list_live_rows(rows_from(first),
                       {depth_of(part), from, a.ld, alive, rows[part] + first, terms + at, values + at},
                       false);
      }
    }
  }

  [[nodiscard]] int64_t rows_from(int64_t first) const { return std::min(a.rows - first, kSharingRows); }
  [[nodiscard]] int64_t depth_of(int64_t part) const { return a.begin(part + 1) - a.begin(part); }
  [[nodiscard]] int64_t place(int64_t first, int64_t part) const {
    return first * a.depth + rows_from(first) * a.begin(part);
  }
};

/// C from a block of A and `columns` columns of one of B, as multiply_block; `memory` as of BlockLists.
inline void multiply_shared(int64_t columns, const SparseA& a, const float* b, int64_t panel_stride,
                            const Finish& finish, float* memory) {
  HWY_ALIGN float sums[kSharingRows * kLiveWidth];
  const BlockLists lists(a, memory);
  for (int64_t j = 0; j < columns; j += kLiveWidth, b += kWidePanels * panel_stride) {
    const int64_t width = std::min(kLiveWidth, columns - j);
    for (int64_t first = 0; first < a.rows; first += kSharingRows) {
      const int64_t count = lists.rows_from(first);
      for (int64_t part = 0; part < a.parts(); ++part) {
        const int64_t at = lists.place(first, part);
        LiveAhead ahead;
        // Each term asks for a line in any case, and other layers may have put B out of the cache.
        if (first == 0) ahead = next_shared_part(a, columns - j, part, b, panel_stride);
        sum_live_rows(count, lists.depth_of(part),
                      {lists.rows[part] + first, lists.terms + at, lists.values + at,
                       b + a.begin(part) * kTileColumns, kTileColumns, panel_stride},
                      width, {sums, kLiveWidth, part == 0 ? LiveSum::kStore : LiveSum::kContinue}, ahead);
      }
      Finish row = finish;
      row.c += first * finish.ldc + j;
      if (row.bias != nullptr) row.bias += j;
      for (int64_t i = 0; i < count; ++i, row.c += finish.ldc) finish_row(sums + i * kLiveWidth, width, row);
    }
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace nacre::gemm
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
