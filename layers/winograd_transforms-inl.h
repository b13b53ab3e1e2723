// Winograd's transforms of vectors of channels, compiled once for every instruction set: foreach_target.h
// flips HWY_TARGET_TOGGLE.
#if defined(NACRE_LAYERS_WINOGRAD_TRANSFORMS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef NACRE_LAYERS_WINOGRAD_TRANSFORMS_INL_H
#undef NACRE_LAYERS_WINOGRAD_TRANSFORMS_INL_H
#else
#define NACRE_LAYERS_WINOGRAD_TRANSFORMS_INL_H
#endif

#include "engine/vectors-inl.h"
#include "layers/winograd_matrices.h"

HWY_BEFORE_NAMESPACE();
namespace nacre::winograd {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using nacre::HWY_NAMESPACE::kLanes;
using nacre::HWY_NAMESPACE::Part;
using nacre::HWY_NAMESPACE::Tag;
using nacre::HWY_NAMESPACE::Vector;

// A matrix [points][kSize] as a type.
template <int R>
struct InputMatrix : Matrices<R> {
  static constexpr int kSize = Matrices<R>::kPoints;
  static constexpr double value(int point, int k) { return Matrices<R>::input(point, k); }
};
template <int R>
struct KernelMatrix : Matrices<R> {
  static constexpr int kSize = R;
  static constexpr double value(int point, int k) { return Matrices<R>::kernel(point, k); }
};
template <int R>
struct OutputMatrix : Matrices<R> {
  static constexpr int kSize = kTile;
  static constexpr double value(int point, int k) { return Matrices<R>::output(point, k); }
};

/// A sum that may have no terms yet.
template <bool kEmpty>
struct Sum {
  Vector value;
};

/// sum + factor * x.
template <class Factor, bool kEmpty>
HWY_INLINE auto add_term(Sum<kEmpty> sum, Vector x) {
  constexpr auto kFactor = static_cast<float>(Factor::kValue);
  if constexpr (kFactor == 0.0F) {
    return sum;
  } else if constexpr (kEmpty) {
    return Sum<false>{kFactor == 1.0F ? x : hn::Mul(hn::Set(Tag(), kFactor), x)};
  } else if constexpr (kFactor == 1.0F) {
    return Sum<false>{hn::Add(sum.value, x)};
  } else if constexpr (kFactor == -1.0F) {
    return Sum<false>{hn::Sub(sum.value, x)};
  } else {
    return Sum<false>{hn::MulAdd(hn::Set(Tag(), kFactor), x, sum.value)};
  }
}

template <class M, int kPoint, int kIndex>
struct FactorOf {
  static constexpr double kValue = M::value(kPoint, kIndex);
};

/// sum + the terms kIndex, kIndex + 2, .. of a row of M times x.
template <class M, int kPoint, int kIndex, bool kEmpty>
HWY_INLINE auto add_row(const Vector* x, Sum<kEmpty> sum) {
  if constexpr (kIndex >= M::kSize) {
    return sum;
  } else {
    return add_row<M, kPoint, kIndex + 2>(x, add_term<FactorOf<M, kPoint, kIndex>>(sum, x[kIndex]));
  }
}

/// points[p] = sum over k of M[p][k] * x[k].
template <class M, int kPoint = 0>
HWY_INLINE void to_points(const Vector* x, Vector* points) {
  const Sum<true> none{hn::Zero(Tag())};
  if constexpr (kPoint == 0) {
    points[0] = add_row<M, 0, 1>(x, add_row<M, 0, 0>(x, none)).value;
    to_points<M, 1>(x, points);
  } else if constexpr (kPoint == M::kPoints - 1) {
    points[kPoint] = add_row<M, kPoint, 1>(x, add_row<M, kPoint, 0>(x, none)).value;
  } else {
    const Vector even = add_row<M, kPoint, 0>(x, none).value;
    const Vector odd = add_row<M, kPoint, 1>(x, none).value;
    points[kPoint] = hn::Add(even, odd);
    points[kPoint + 1] = hn::Sub(even, odd);
    to_points<M, kPoint + 2>(x, points);
  }
}

/// sum + the terms of the pairs of points kPoint, kPoint + 1; ..: `paired` are their sums or differences.
template <class M, int kIndex, int kPoint, bool kEmpty>
HWY_INLINE auto add_pairs(const Vector* paired, Sum<kEmpty> sum) {
  if constexpr (kPoint >= M::kPoints - 1) {
    return sum;
  } else {
    return add_pairs<M, kIndex, kPoint + 2>(paired,
                                            add_term<FactorOf<M, kPoint, kIndex>>(sum, paired[kPoint / 2]));
  }
}

template <class M, int kIndex = 0>
HWY_INLINE void combine_points(const Vector* points, const Vector* sums, const Vector* differences,
                               Vector* x) {
  if constexpr (kIndex < M::kSize) {
    constexpr int kLast = M::kPoints - 1;
    const Sum<true> none{hn::Zero(Tag())};
    const auto pairs = add_pairs<M, kIndex, 1>(kIndex % 2 == 0 ? sums : differences, none);
    const auto with_zero = add_term<FactorOf<M, 0, kIndex>>(pairs, points[0]);
    x[kIndex] = add_term<FactorOf<M, kLast, kIndex>>(with_zero, points[kLast]).value;
    combine_points<M, kIndex + 1>(points, sums, differences, x);
  }
}

/// x[k] = sum over p of M[p][k] * points[p].
template <class M>
HWY_INLINE void from_points(const Vector* points, Vector* x) {
  constexpr int kPairs = M::kPoints / 2 - 1;
  Vector sums[kPairs];
  Vector differences[kPairs];
#pragma GCC unroll 4
  for (int i = 0; i < kPairs; ++i) {
    sums[i] = hn::Add(points[2 * i + 1], points[2 * i + 2]);
    differences[i] = hn::Sub(points[2 * i + 1], points[2 * i + 2]);
  }
  combine_points<M>(points, sums, differences, x);
}

/// Both dimensions: load(i, j) gives element [i][j] of a square of M::kSize, store(p, q, v) takes that of a
/// square of points.
template <class M, typename Load, typename Store>
HWY_INLINE void square_to_points(const Load& load, const Store& store) {
  Vector half[M::kPoints][M::kSize];
#pragma GCC unroll 8
  for (int j = 0; j < M::kSize; ++j) {
    Vector column[M::kSize];
    Vector points[M::kPoints];
#pragma GCC unroll 8
    for (int i = 0; i < M::kSize; ++i) column[i] = load(i, j);
    to_points<M>(column, points);
#pragma GCC unroll 8
    for (int p = 0; p < M::kPoints; ++p) half[p][j] = points[p];
  }
#pragma GCC unroll 8
  for (int p = 0; p < M::kPoints; ++p) {
    Vector points[M::kPoints];
    to_points<M>(half[p], points);
#pragma GCC unroll 8
    for (int q = 0; q < M::kPoints; ++q) store(p, q, points[q]);
  }
}

/// The adjoint: from a square of points to one of M::kSize.
template <class M, typename Load, typename Store>
HWY_INLINE void square_from_points(const Load& load, const Store& store) {
  Vector half[M::kSize][M::kPoints];
#pragma GCC unroll 8
  for (int q = 0; q < M::kPoints; ++q) {
    Vector points[M::kPoints];
    Vector column[M::kSize];
#pragma GCC unroll 8
    for (int p = 0; p < M::kPoints; ++p) points[p] = load(p, q);
    from_points<M>(points, column);
#pragma GCC unroll 8
    for (int i = 0; i < M::kSize; ++i) half[i][q] = column[i];
  }
#pragma GCC unroll 8
  for (int i = 0; i < M::kSize; ++i) {
    Vector row[M::kSize];
    from_points<M>(half[i], row);
#pragma GCC unroll 8
    for (int j = 0; j < M::kSize; ++j) store(i, j, row[j]);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace nacre::winograd
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
