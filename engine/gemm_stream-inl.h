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

/// A vector that the compiler keeps in a register for all who use it, rather than load it for each.
HWY_INLINE Vector kept(Vector v) {
#if HWY_TARGET <= HWY_AVX3
  asm("" : "+v"(v.raw));
#endif
  return v;
}

/// Calls body(k, which of the elements from k on are not zero in any of kRows rows, `ld` floats apart) for
/// the elements [begin, end), a vector at a time.
template <int kRows, typename Body>
HWY_INLINE void for_each_live(const float* a, int64_t ld, int64_t begin, int64_t end, const Body& body) {
  const Tag d;
  const auto live_in = [&](const float* row, int64_t k) HWY_ATTR {
    const Vector v = end - k >= kLanes ? hn::LoadU(d, row + k)
                                       : Part{k, static_cast<size_t>(end - k) * sizeof(float)}.load(row);
    return hn::Not(hn::Eq(v, hn::Zero(d)));  // NaN is not zero either
  };
  for (int64_t k = begin; k < end; k += kLanes) {
    auto live = live_in(a, k);
    for (int r = 1; r < kRows; ++r) live = hn::Or(live, live_in(a + r * ld, k));
    body(k, live);
  }
}

template <int kRows>
int64_t count_live(const float* a, int64_t ld, int64_t depth) {
  int64_t count = 0;
  for_each_live<kRows>(a, ld, 0, depth, [&](int64_t /*k*/, auto live) HWY_ATTR {
    count += static_cast<int64_t>(hn::CountTrue(Tag(), live));
  });
  return count;
}

/// Lists which elements [begin, end) of kRows rows as above are not zero in any, in ascending order, and says
/// how many those are. Of `to` no more than end - begin elements are written.
template <int kRows>
HWY_NOINLINE int64_t list_live(const float* a, int64_t ld, int64_t begin, int64_t end, int32_t* to) {
  const hn::RebindToSigned<Tag> d;
  int64_t count = 0;
  for_each_live<kRows>(a, ld, begin, end, [&](int64_t k, auto live) HWY_ATTR {
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

inline constexpr int64_t kStreamColumns = 512;  ///< whose sums stay in the first-level cache
/// How many terms later a row is read that is asked for now.
inline constexpr int64_t kTermsAhead = 6;

/// A few rows of A over one block of depth, and which of their elements are not zero in any of them, in
/// ascending order. A row of B that meets zeros alone adds nothing, and need not be read: behind a relu that
/// spares half of all there is to do.
template <int kRows>
struct Terms {
  const float* a;
  int64_t lda;
  int64_t depth;
  int64_t count;
  int64_t known;  ///< rows of B that are listed, the next block's too
  /// Of the block of B, and behind those the ones of the next block that are read first.
  int32_t row[kMaxDepth + kTermsAhead];

  void list(const float* from, int64_t ld, int64_t block_depth) {
    a = from;
    lda = ld;
    depth = block_depth;
    count = known = list_live<kRows>(a, lda, 0, depth, row);
  }

  /// Lists the first rows of the block behind, too, where that is what is read next.
  void lead_to(const Terms& next) {
    known = count + std::min(next.count, kTermsAhead);
    for (int64_t t = count; t < known; ++t) row[t] = static_cast<int32_t>(depth + next.row[t - count]);
  }
};

/// So many terms are added to the sums at a time: registers hold their factors, and each sum waits in memory
/// for the next ones.
template <int kRows>
inline constexpr int kTermsAtOnce = std::min(4, (kTileRows == 12 ? 16 : 8) / kRows);

/// sums[kRows][kStreamColumns] += the terms from t on times their rows of B, in ascending order; where there
/// are no more, zero times the last row. Of columns that fill vectors.
template <int kRows>
HWY_INLINE void add_terms(const Terms<kRows>& terms, int64_t t, const float* b, int64_t ldb, int64_t columns,
                          float* HWY_RESTRICT sums) {
  constexpr int kTerms = kTermsAtOnce<kRows>;
  const int64_t last = terms.count - 1;
  const float* row[kTerms];
  const float* next[kTerms];
  Vector factor[kTerms][kRows];
#pragma GCC unroll 8
  for (int i = 0; i < kTerms; ++i) {
    const int64_t k = terms.row[std::min(t + i, last)];
    row[i] = b + k * ldb;
    next[i] = b + terms.row[std::min(t + i + kTermsAhead, terms.known - 1)] * ldb;
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r)
      factor[i][r] = hn::Set(Tag(), t + i <= last ? terms.a[r * terms.lda + k] : 0.F);
  }
  for (int64_t j = 0; j < columns; j += kLanes) {
    Vector sum[kRows];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) sum[r] = hn::LoadU(Tag(), sums + r * kStreamColumns + j);
#pragma GCC unroll 8
    for (int i = 0; i < kTerms; ++i) {
      __builtin_prefetch(next[i] + j);
      Vector x = hn::LoadU(Tag(), row[i] + j);
      if constexpr (kRows > 1) x = kept(x);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) sum[r] = hn::MulAdd(factor[i][r], x, sum[r]);
    }
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) hn::StoreU(sum[r], Tag(), sums + r * kStreamColumns + j);
  }
}

/// The sums of one row of A over columns that do not fill a vector.
HWY_NOINLINE inline void sum_part(const float* a, const int32_t* terms, int64_t count, const float* b,
                                  int64_t ldb, const Part& part, float* sums) {
  Vector sum = hn::Zero(Tag());
  for (int64_t t = 0; t < count; ++t) {
    const int64_t k = terms[t];
    sum = hn::MulAdd(hn::Set(Tag(), a[k]), part.load(b + k * ldb), sum);
  }
  part.store(sum, sums);
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
HWY_NOINLINE inline void finish_row(const float* sum, int64_t columns, const Finish& finish) {
  for_each_vector(columns, [&](const auto& lanes)
                               HWY_ATTR { lanes.store(finished(lanes.load(sum), lanes, finish), finish.c); });
}

/// The sums of the terms over up to kStreamColumns columns of a block of B, put where they belong. finish: of
/// the first row.
template <int kRows>
void sum_terms(const Terms<kRows>& terms, const float* b, int64_t ldb, int64_t columns, Finish finish) {
  HWY_ALIGN float sums[kRows * kStreamColumns];
  const int64_t whole = columns / kLanes * kLanes;
  for (int r = 0; r < kRows; ++r) std::fill_n(sums + r * kStreamColumns, whole, 0.F);
  for (int64_t t = 0; t < terms.count; t += kTermsAtOnce<kRows>) add_terms(terms, t, b, ldb, whole, sums);
  const Part rest{whole, static_cast<size_t>(columns - whole) * sizeof(float)};
  for (int r = 0; r < kRows; ++r, finish.c += finish.ldc) {
    float* const row = sums + r * kStreamColumns;
    if (rest.bytes > 0) sum_part(terms.a + r * terms.lda, terms.row, terms.count, b, ldb, rest, row);
    finish_row(row, columns, finish);
  }
}

/// The product of kRows rows.
template <int kRows>
void multiply_streamed_rows(const GemmArgs& args) {
  const int64_t max_depth = block_depth(std::max<int64_t>(args.k, 1));
  Terms<kRows> blocks[2];
  const auto list = [&](Terms<kRows>& terms, int64_t k)
                        HWY_ATTR { terms.list(args.a + k, args.lda, std::min(max_depth, args.k - k)); };
  list(blocks[0], 0);
  int64_t k = 0;
  for (int block = 0; block == 0 || k < args.k; ++block) {
    Terms<kRows>& terms = blocks[block % 2];
    const int64_t next_k = k + terms.depth;
    const bool last = next_k == args.k;
    if (!last) {
      // Before it is needed, so that its rows can be asked for; with more columns, these are next.
      Terms<kRows>& next = blocks[(block + 1) % 2];
      list(next, next_k);
      if (args.n <= kStreamColumns) terms.lead_to(next);
    }
    for (int64_t j = 0; j < args.n; j += kStreamColumns) {
      const int64_t columns = std::min(kStreamColumns, args.n - j);
      sum_terms(terms, args.b + k * args.ldb + j, args.ldb, columns,
                finish_of(args, args.c + j, k == 0, last, j));
    }
    k = next_k;
  }
}

/// The product for a few rows, with A and B as they lie: reading B costs nearly all the time of up to five
/// rows; for more it is read twice. Where vectors are but numbers, other things cost the time.
inline void multiply_streamed(const GemmArgs& args) {
  static_assert(kStreamedRows == 8 && kStreamedAtOnce == 5);
  const int64_t parts = ceil_div(args.m, kLanes == 1 ? 1 : kStreamedAtOnce);
  GemmArgs rows = args;
  for (int64_t part = 0; part < parts; ++part) {
    rows.m = (part + 1) * args.m / parts - part * args.m / parts;
    switch (kLanes == 1 ? 1 : rows.m) {
      case 2:
        multiply_streamed_rows<2>(rows);
        break;
      case 3:
        multiply_streamed_rows<3>(rows);
        break;
      case 4:
        multiply_streamed_rows<4>(rows);
        break;
      case 5:
        multiply_streamed_rows<5>(rows);
        break;
      default:
        multiply_streamed_rows<1>(rows);
        break;
    }
    rows.a += rows.m * args.lda;
    rows.c += rows.m * args.ldc;
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace nacre::gemm
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
