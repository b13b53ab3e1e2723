// Products of a few rows for gemm_kernel.cc, compiled once for every instruction set: foreach_target.h flips
// HWY_TARGET_TOGGLE.
#if defined(NACRE_ENGINE_GEMM_STREAM_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef NACRE_ENGINE_GEMM_STREAM_INL_H
#undef NACRE_ENGINE_GEMM_STREAM_INL_H
#else
#define NACRE_ENGINE_GEMM_STREAM_INL_H
#endif

#include "engine/gemm_pack-inl.h"
#include "engine/gemm_tiles-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nacre::gemm {
namespace HWY_NAMESPACE {
namespace {

/// Calls body(k, which of the elements from k on are not zero) for the elements [begin, end) of a row, a
/// vector at a time. With a distance other than 0, in that row or in the one so many floats behind it.
template <typename Body>
HWY_INLINE void for_each_live(const float* a, int64_t distance, int64_t begin, int64_t end,
                              const Body& body) {
  const Tag d;
  const auto live_in = [&](const float* row, int64_t k) HWY_ATTR {
    const Vector v = end - k >= kLanes ? hn::LoadU(d, row + k)
                                       : Part{k, static_cast<size_t>(end - k) * sizeof(float)}.load(row);
    return hn::Not(hn::Eq(v, hn::Zero(d)));  // NaN is not zero either
  };
  for (int64_t k = begin; k < end; k += kLanes) {
    const auto live = live_in(a, k);
    body(k, distance == 0 ? live : hn::Or(live, live_in(a + distance, k)));
  }
}

inline int64_t count_live(const float* a, int64_t distance, int64_t depth) {
  int64_t count = 0;
  for_each_live(a, distance, 0, depth, [&](int64_t /*k*/, auto live) HWY_ATTR {
    count += static_cast<int64_t>(hn::CountTrue(Tag(), live));
  });
  return count;
}

/// Lists which elements [begin, end) of a row, or of two as above, are not zero, in ascending order, and says
/// how many those are. Of `to` no more than end - begin elements are written.
inline int64_t list_live(const float* a, int64_t distance, int64_t begin, int64_t end, int32_t* to) {
  const hn::RebindToSigned<Tag> d;
  int64_t count = 0;
  for_each_live(a, distance, begin, end, [&](int64_t k, auto live) HWY_ATTR {
    const auto numbers = hn::Iota(d, static_cast<int32_t>(k));
    const auto listed = compressed(d, numbers, hn::RebindMask(d, live));
    const auto more = static_cast<int64_t>(hn::CountTrue(Tag(), live));
    if (end - k >= kLanes) {
      hn::StoreU(listed, d, to + count);
    } else {
      HWY_ALIGN int32_t some[kLanes];
      hn::Store(listed, d, some);
      std::copy_n(some, more, to + count);
    }
    count += more;
  });
  return count;
}

/// The elements of a row of A over one block of depth that are not zero, in ascending order. A row of B whose
/// factor is zero adds nothing, and need not be read: behind a relu that spares half of all there is to do.
struct Terms {
  const float* a;
  int32_t row[kMaxDepth];  ///< of the block of B
  int64_t count;

  /// `copy`: for a row whose elements lie `step` apart.
  Terms(const float* from, int64_t step, int64_t depth, float* copy) : a(from) {
    if (step != 1) {
      for (int64_t k = 0; k < depth; ++k) copy[k] = from[k * step];
      a = copy;
    }
    count = list_live(a, 0, 0, depth, row);
  }
};

/// sum[kVectors] = the terms times kVectors vectors of their rows of B, in ascending order; the last vector
/// has `count` elements.
template <int kVectors>
void sum_terms(const Terms& terms, const float* b, int64_t ldb, int64_t count, float* sum) {
  const Tag d;
  constexpr int64_t kAhead = 4;
  Vector total[kVectors];
#pragma GCC unroll 8
  for (int v = 0; v < kVectors; ++v) total[v] = hn::Zero(d);
  for (int64_t t = 0; t < terms.count; ++t) {
    const Vector factor = hn::Set(d, terms.a[terms.row[t]]);
    const float* row = b + terms.row[t] * ldb;
    // Rows between which some are left out are more than the hardware foresees.
    const float* next = b + terms.row[std::min(t + kAhead, terms.count - 1)] * ldb;
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      __builtin_prefetch(next + v * kLanes);
      const float* at = row + v * kLanes;
      const Vector x = v + 1 < kVectors || count == kLanes
                           ? hn::LoadU(d, at)
                           : Part{0, static_cast<size_t>(count) * sizeof(float)}.load(at);
      total[v] = hn::MulAdd(factor, x, total[v]);
    }
  }
#pragma GCC unroll 8
  for (int v = 0; v < kVectors; ++v) hn::Store(total[v], d, sum + v * kLanes);
}

/// The terms times the first of `columns` columns of their rows of B; says how many those are.
inline constexpr int64_t kMostVectors = 8;
inline int64_t sum_columns(const Terms& terms, const float* b, int64_t ldb, int64_t columns, float* sum) {
  const auto of = [&]<int kVectors>() {
    const int64_t count = std::min(columns, kVectors * kLanes);
    sum_terms<kVectors>(terms, b, ldb, count - (kVectors - 1) * kLanes, sum);
    return count;
  };
  const int64_t vectors = ceil_div(columns, kLanes);
  if (vectors >= 8) return of.template operator()<8>();
  if (vectors >= 4) return of.template operator()<4>();
  return vectors >= 2 ? of.template operator()<2>() : of.template operator()<1>();
}

/// What becomes of sums that lie as `lanes` say.
template <class Lanes>
HWY_INLINE Vector finished(Vector sum, const Lanes& lanes, const Finish& finish) {
  if (finish.add_c) sum = hn::Add(lanes.load(finish.c), sum);
  if (finish.plain) return sum;
  const Vector bias = finish.bias == nullptr ? hn::Zero(Tag()) : lanes.load(finish.bias);
  return clipped(hn::Add(sum, bias), set(finish.least), set(finish.most));
}

/// The sums of a row over a block, put where they belong.
inline void finish_row(const float* sum, int64_t columns, const Finish& finish) {
  for_each_vector(columns, [&](const auto& lanes)
                               HWY_ATTR { lanes.store(finished(lanes.load(sum), lanes, finish), finish.c); });
}

/// The product for a few rows: B, read once, costs nearly all the time.
inline void multiply_streamed(const GemmArgs& args) {
  HWY_ALIGN float sum[kMostVectors * kLanes];
  float copy[kMaxDepth];
  const int64_t max_depth = block_depth(std::max<int64_t>(args.k, 1));
  int64_t k = 0;
  do {
    const int64_t depth = std::min(max_depth, args.k - k);
    const bool last = k + depth == args.k;
    for (int64_t i = 0; i < args.m; ++i) {
      const float* a = args.a + (args.transpose_a ? k * args.lda + i : i * args.lda + k);
      const Terms terms(a, args.transpose_a ? args.lda : 1, depth, copy);
      int64_t columns = 0;
      for (int64_t j = 0; j < args.n; j += columns) {
        const float* b = args.b + k * args.ldb + j;
        columns = sum_columns(terms, b, args.ldb, args.n - j, sum);
        finish_row(sum, columns, finish_of(args, args.c + i * args.ldc + j, k == 0, last, j));
      }
    }
    k += depth;
  } while (k < args.k);
}

/// One row times packed panels, several panels at a time.
template <int kPanels>
void multiply_row_by_panels(const Terms& terms, const float* b, int64_t panel_stride, float* sum) {
  const Tag d;
  Vector total[kPanels][2];
#pragma GCC unroll 4
  for (int p = 0; p < kPanels; ++p) total[p][0] = total[p][1] = hn::Zero(d);
  for (int64_t t = 0; t < terms.count; ++t) {
    const Vector factor = hn::Set(d, terms.a[terms.row[t]]);
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p) {
      const float* panel = b + p * panel_stride + terms.row[t] * kTileColumns;
      total[p][0] = hn::MulAdd(factor, hn::Load(d, panel), total[p][0]);
      total[p][1] = hn::MulAdd(factor, hn::Load(d, panel + kLanes), total[p][1]);
    }
  }
#pragma GCC unroll 4
  for (int p = 0; p < kPanels; ++p) {
    hn::Store(total[p][0], d, sum + p * kTileColumns);
    hn::Store(total[p][1], d, sum + p * kTileColumns + kLanes);
  }
}

inline void multiply_rows_by_panels(const GemmArgs& args, const float* packed) {
  constexpr int kPanels = 4;
  HWY_ALIGN float sum[kPanels * kTileColumns];
  float copy[kMaxDepth];
  const int64_t max_depth = block_depth(std::max<int64_t>(args.k, 1));
  const int64_t panel_stride = args.k * kTileColumns;
  int64_t k = 0;
  do {
    const int64_t depth = std::min(max_depth, args.k - k);
    const bool last = k + depth == args.k;
    for (int64_t i = 0; i < args.m; ++i) {
      const float* a = args.a + (args.transpose_a ? k * args.lda + i : i * args.lda + k);
      const Terms terms(a, args.transpose_a ? args.lda : 1, depth, copy);
      for (int64_t j = 0; j < args.n; j += kPanels * kTileColumns) {
        const int64_t columns = std::min<int64_t>(kPanels * kTileColumns, args.n - j);
        const float* b = packed + j * args.k + k * kTileColumns;
        if (columns > (kPanels - 1) * kTileColumns) {
          multiply_row_by_panels<kPanels>(terms, b, panel_stride, sum);
        } else {
          for (int64_t p = 0; p * kTileColumns < columns; ++p) {
            multiply_row_by_panels<1>(terms, b + p * panel_stride, panel_stride, sum + p * kTileColumns);
          }
        }
        finish_row(sum, columns, finish_of(args, args.c + i * args.ldc + j, k == 0, last, j));
      }
    }
    k += depth;
  } while (k < args.k);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace nacre::gemm
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
