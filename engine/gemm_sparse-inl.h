// Products with a matrix of many zeros for gemm_kernel.cc, compiled once for every instruction set:
// foreach_target.h flips HWY_TARGET_TOGGLE.
#if defined(NACRE_ENGINE_GEMM_SPARSE_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef NACRE_ENGINE_GEMM_SPARSE_INL_H
#undef NACRE_ENGINE_GEMM_SPARSE_INL_H
#else
#define NACRE_ENGINE_GEMM_SPARSE_INL_H
#endif

#include "engine/gemm_stream-inl.h"
#include "engine/isa.h"

HWY_BEFORE_NAMESPACE();
namespace nacre::gemm {
namespace HWY_NAMESPACE {
namespace {

// Behind a relu half of all elements are zeros, often more. Here a row of C is summed over the others of its
// row of A alone. Each multiply-add loads its vector of B, so B goes by in parts that stay in the first-level
// cache while many rows use them; sums wait in memory for the next part.
inline constexpr int kLivePanels = kLanes == 1 ? 1 : 4;
inline constexpr int64_t kLiveColumns = kLivePanels * kTileColumns;
inline constexpr int64_t kPartFloats = 8192;
inline constexpr int64_t kPartDepth = kPartFloats / kLiveColumns;
inline constexpr int64_t kMostParts = ceil_div(kMaxDepth, kPartDepth);
inline constexpr int64_t kLiveRows = 64;  ///< that use a part of B before the next

/// A block of A by rows, and how its depth is cut into parts.
struct SparseA {
  const float* data;
  int64_t ld;
  int64_t rows;
  int64_t depth;
  int64_t part_depth = kPartDepth;  ///< at most

  [[nodiscard]] int64_t parts() const { return ceil_div(depth, part_depth); }
  [[nodiscard]] int64_t begin(int64_t part) const { return part * depth / parts(); }
};

/// How many rows share a list at most: registers hold the sums of two.
inline constexpr int kMostListed = kTileRows == 12 ? 2 : 1;

/// How many rows should share a list, 0 where there are too few zeros for their absence to pay for lists and
/// loads; by up to six pairs of rows.
inline int rows_of_list(const SparseA& a, int64_t columns) {
  constexpr int64_t kSampled = 6;
  constexpr int64_t kListed = 4;    // what listing a vector of A takes, in multiply-adds of a vector
  constexpr int64_t kPerSum = 3;    // a sum that waits in memory
  constexpr int64_t kPerList = 24;  // a loop whose end is not foreseen
  // A term of one row loads a vector for each multiply-add, of two rows for two; beside those it costs:
  constexpr int64_t kPerShared = 1;
  const int64_t per_term = kMostListed == 1 || halves_wide_vectors() ? 2 : 5;
  const int64_t sampled = std::clamp<int64_t>(a.rows / kSampled, 1, kSampled);
  const bool pairs = kMostListed == 2 && a.rows > 1;
  int64_t own = 0;
  int64_t shared = 0;
  for (int64_t i = 0; i < sampled; ++i) {
    const int64_t first = std::min(i * a.rows / sampled, std::max<int64_t>(a.rows - kMostListed, 0));
    const float* const row = a.data + first * a.ld;
    own += count_live<1>(row, a.ld, a.depth);
    if (pairs) shared += count_live<2>(row, a.ld, a.depth);
  }
  const int64_t slabs = ceil_div(columns, kLiveColumns);
  const int64_t vectors = ceil_div(columns, kTileColumns) * 2;
  // For each row that was looked at.
  const int64_t dense = sampled * a.depth * vectors;
  const int64_t listing = sampled * ceil_div(a.depth, kLanes) * kListed;
  const int64_t loops = sampled * a.parts() * kPerList * slabs;
  const int64_t waiting = sampled * a.parts() * kPerSum * vectors;
  const int64_t alone = own * (vectors + per_term * slabs) + listing + loops + waiting;
  const int64_t paired = shared * (2 * vectors + kPerShared * slabs) / 2 + (listing + loops) / 2 + waiting;
  if (pairs && paired < alone) return paired * 10 < dense * 9 ? 2 : 0;
  return alone * 10 < dense * 9 ? 1 : 0;
}

/// The part of B after the one that is read, fetched into the second-level cache in so many steps: rows that
/// are left out are more than the hardware foresees.
struct NextPart {
  const float* data;
  int64_t panels;
  int64_t panel_stride;
  int64_t floats;  ///< of a panel that are left
  int64_t step;

  void fetch() {
    for (int64_t line = 0; line < step && floats > 0; line += kCacheLine) {
      for (int64_t p = 0; p < panels; ++p) __builtin_prefetch(data + p * panel_stride, 0, 2);
      data += kCacheLine;
      floats -= kCacheLine;
    }
  }
};

/// Behind `part` of the first panels of b, of which `columns` are left.
inline NextPart next_part(const SparseA& a, int64_t columns, int64_t part, const float* b,
                          int64_t panel_stride, int64_t steps) {
  if (part + 1 == a.parts()) {
    columns -= kLiveColumns;
    b += kLivePanels * panel_stride;
    part = -1;
  }
  const int64_t begin = a.begin(part + 1);
  const int64_t floats = columns <= 0 ? 0 : (a.begin(part + 2) - begin) * kTileColumns;
  return {b + begin * kTileColumns, std::min<int64_t>(kLivePanels, ceil_div(columns, kTileColumns)),
          panel_stride, floats, ceil_div(floats, steps)};
}

/// Lists of a block of A: of row r and part p those of its elements that are not zero; rows that share a list
/// have it in the place of the first.
struct Lists {
  const int32_t* terms;   ///< those of row r and part p from [r * depth + begin of p] on
  const int32_t* counts;  ///< [row][part]
  int64_t depth;
  int64_t parts;
};

/// Sums of some rows over one part of the depth.
struct PartialSums {
  const float* a;
  int64_t lda;
  Lists lists;  ///< of the first row and the part
  int64_t rows;
  const float* b;
  int64_t panel_stride;
  float* sums;  ///< [rows][kLiveColumns]: of the parts before
  bool first;
  bool last;
  Finish finish;  ///< what then happens to them
  int64_t columns;
  NextPart* next;  ///< or null
};

/// Of rows that share a list by kRows, for columns that fill the last of kPanels panels, or less.
template <int kPanels, int kRows>
void sum_live(const PartialSums& part) {
  constexpr int kVectors = 2 * kPanels;
  const Tag d;
  const float* const b = part.b;
  const int64_t panel_stride = part.panel_stride;
  const int64_t lda = part.lda;
  const float* a = part.a;
  const int32_t* terms = part.lists.terms;
  const int32_t* count = part.lists.counts;
  float* sums = part.sums;
  Finish finish = part.finish;
  // Sums go straight to C, unless that has a part of them or ends within a vector.
  const bool direct = part.last && part.columns == kPanels * kTileColumns && !finish.add_c &&
                      (finish.plain || finish.bias != nullptr);
  const bool clips = direct && !finish.plain;
  const Vector least = set(finish.least);
  const Vector most = set(finish.most);
  for (int64_t i = 0; i < part.rows; i += kRows) {
    if (part.next != nullptr) part.next->fetch();
    Vector sum[kRows][kVectors];
#pragma GCC unroll 2
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) {
        sum[r][v] = part.first ? hn::Zero(d) : hn::Load(d, sums + r * kLiveColumns + v * kLanes);
      }
    }
    for (const int32_t *term = terms, *const end = terms + *count; term < end; ++term) {
      const int64_t k = *term;
      const float* row = b + k * kTileColumns;
      Vector factor[kRows];
#pragma GCC unroll 2
      for (int r = 0; r < kRows; ++r) factor[r] = hn::Set(d, a[r * lda + k]);
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) {
        Vector x = hn::Load(d, row + v / 2 * panel_stride + v % 2 * kLanes);
        if constexpr (kRows > 1) x = kept(x);
#pragma GCC unroll 2
        for (int r = 0; r < kRows; ++r) sum[r][v] = hn::MulAdd(factor[r], x, sum[r][v]);
      }
    }
    if (clips) {
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) {
        const Vector bias = hn::LoadU(d, finish.bias + v * kLanes);
#pragma GCC unroll 2
        for (int r = 0; r < kRows; ++r) sum[r][v] = clipped(hn::Add(sum[r][v], bias), least, most);
      }
    }
    float* const to = direct ? finish.c : sums;
    const int64_t step = direct ? finish.ldc : kLiveColumns;
#pragma GCC unroll 2
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) hn::StoreU(sum[r][v], d, to + r * step + v * kLanes);
    }
    for (int r = 0; part.last && r < kRows; ++r) {
      if (!direct) finish_row(sums + r * kLiveColumns, part.columns, finish);
      finish.c += finish.ldc;
    }
    sums += kRows * kLiveColumns;
    a += kRows * lda;
    terms += kRows * part.lists.depth;
    count += kRows * part.lists.parts;
  }
}

using SumLive = void (*)(const PartialSums&);

/// sum_live for 1, 2, .. panels.
template <int kRows, int... kLess>
constexpr std::array<SumLive, sizeof...(kLess)> live_kernels(std::integer_sequence<int, kLess...> /*less*/) {
  return {sum_live<kLess + 1, kRows>...};
}

/// C from a block of A and `columns` columns of one of B, as multiply_block, with lists of one row or of
/// `together`; `terms` has room for as many elements as A has.
inline void multiply_sparse(int64_t columns, const SparseA& a, int together, const float* b,
                            int64_t panel_stride, const Finish& finish, bool fetches, int32_t* terms) {
  constexpr std::make_integer_sequence<int, kLivePanels> kPanels;
  static constexpr std::array kKernels{live_kernels<1>(kPanels), live_kernels<kMostListed>(kPanels)};
  HWY_ALIGN float sums[kLiveRows * kLiveColumns];
  int32_t counts[kBlockRows * kMostParts];
  int64_t begin[kMostParts + 1];
  const int64_t parts = a.parts();
  // The last row may have none to share with.
  const int64_t paired = together == 2 ? a.rows / 2 * 2 : 0;
  for (int64_t part = 0; part <= parts; ++part) begin[part] = a.begin(part);
  for (int64_t i = 0; i < a.rows; i += i < paired ? 2 : 1) {
    for (int64_t part = 0; part < parts; ++part) {
      const auto list = i < paired ? list_live<2> : list_live<1>;
      counts[i * parts + part] = static_cast<int32_t>(
          list(a.data + i * a.ld, a.ld, begin[part], begin[part + 1], terms + i * a.depth + begin[part]));
    }
  }
  for (int64_t j = 0; j < columns; j += kLiveColumns, b += kLivePanels * panel_stride) {
    PartialSums sum{a.data, a.ld, {}, 0, b, panel_stride, sums, true, false, finish, 0, nullptr};
    sum.columns = std::min(kLiveColumns, columns - j);
    if (finish.bias != nullptr) sum.finish.bias += j;
    const auto panels = static_cast<size_t>(ceil_div(sum.columns, kTileColumns));
    for (int64_t first = 0; first < a.rows; first += sum.rows) {
      const SumLive kernel = kKernels[first < paired ? 1 : 0][panels - 1];
      sum.a = a.data + first * a.ld;
      sum.rows = std::min((first < paired ? paired : a.rows) - first, kLiveRows);
      sum.finish.c = finish.c + first * finish.ldc + j;
      for (int64_t part = 0; part < parts; ++part) {
        sum.lists = {terms + first * a.depth + begin[part], counts + first * parts + part, a.depth, parts};
        sum.first = part == 0;
        sum.last = part + 1 == parts;
        NextPart next{};
        if (fetches && first == 0) {
          next = next_part(a, columns - j, part, b, panel_stride, paired > 0 ? sum.rows / 2 : sum.rows);
          sum.next = &next;
        }
        kernel(sum);
        sum.next = nullptr;
      }
    }
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace nacre::gemm
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
