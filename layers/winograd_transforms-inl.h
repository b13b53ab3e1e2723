// Winograd's transforms of vectors of channels, compiled once for every instruction set: foreach_target.h
// flips HWY_TARGET_TOGGLE.
#if defined(NACRE_LAYERS_WINOGRAD_TRANSFORMS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef NACRE_LAYERS_WINOGRAD_TRANSFORMS_INL_H
#undef NACRE_LAYERS_WINOGRAD_TRANSFORMS_INL_H
#else
#define NACRE_LAYERS_WINOGRAD_TRANSFORMS_INL_H
#endif

#include "engine/vectors-inl.h"
#include "layers/winograd_kernels.h"
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

HWY_INLINE Vector load(const float* from) {
  return hn::LoadU(Tag(), from);
}

/// A vector of which only the first `count` floats, or all if that is more than it has, are in memory.
HWY_INLINE Vector load_some(const float* from, int64_t count) {
  return count >= kLanes ? load(from) : Part{0, static_cast<size_t>(count) * sizeof(float)}.load(from);
}
HWY_INLINE void store_some(Vector v, float* to, int64_t count) {
  if (count >= kLanes) {
    hn::StoreU(v, Tag(), to);
  } else {
    Part{0, static_cast<size_t>(count) * sizeof(float)}.store(v, to);
  }
}

// A matrix [points][kSize] as a type. kReal: how many times the even powers of the two rows before it the row
// of the real part at i has.
template <class M>
struct InputMatrix : M {
  static constexpr int kSize = M::kInputs;
  static constexpr double kReal = 1.0;
  static constexpr double value(int point, int k) { return M::input(point, k); }
};
template <class M>
struct KernelMatrix : M {
  static constexpr int kSize = M::kKernel;
  static constexpr double kReal = M::kRealPartOfKernel;
  static constexpr double value(int point, int k) { return M::kernel(point, k); }
};
template <class M>
struct OutputMatrix : M {
  static constexpr int kSize = M::kTile;
  static constexpr double kReal = 1.0;
  static constexpr double value(int point, int k) { return M::output(point, k); }
};

/// A sum that may have no terms yet.
template <class V, bool kEmpty>
struct Sum {
  V value;
};

/// sum + factor * x.
template <class Factor, class V, bool kEmpty>
HWY_INLINE auto add_term(Sum<V, kEmpty> sum, V x) {
  const hn::DFromV<V> d;
  constexpr auto kFactor = static_cast<float>(Factor::kValue);
  if constexpr (kFactor == 0.0F) {
    return sum;
  } else if constexpr (kEmpty) {
    return Sum<V, false>{kFactor == 1.0F ? x : hn::Mul(hn::Set(d, kFactor), x)};
  } else if constexpr (kFactor == 1.0F) {
    return Sum<V, false>{hn::Add(sum.value, x)};
  } else if constexpr (kFactor == -1.0F) {
    return Sum<V, false>{hn::Sub(sum.value, x)};
  } else {
    return Sum<V, false>{hn::MulAdd(hn::Set(d, kFactor), x, sum.value)};
  }
}

template <class M, int kPoint, int kIndex>
struct FactorOf {
  static constexpr double kValue = M::value(kPoint, kIndex);
};

template <class M>
struct RealFactor {
  static constexpr double kValue = M::kReal;
};

/// sum + the terms kIndex, kIndex + 2, .. of a row of M times x.
template <class M, int kPoint, int kIndex, class V, bool kEmpty>
HWY_INLINE auto add_row(const V* x, Sum<V, kEmpty> sum) {
  if constexpr (kIndex >= M::kSize) {
    return sum;
  } else {
    return add_row<M, kPoint, kIndex + 2>(x, add_term<FactorOf<M, kPoint, kIndex>>(sum, x[kIndex]));
  }
}

/// points[p] = sum over k of M[p][k] * x[k].
template <class M, int kPoint = 0, class V = Vector>
HWY_INLINE void to_points(const V* x, V* points) {
  const Sum<V, true> none{hn::Zero(hn::DFromV<V>())};
  if constexpr (kPoint == 0) {
    points[0] = add_row<M, 0, 1>(x, add_row<M, 0, 0>(x, none)).value;
    to_points<M, 1>(x, points);
  } else if constexpr (kPoint == M::kPoints - 1) {
    points[kPoint] = add_row<M, kPoint, 1>(x, add_row<M, kPoint, 0>(x, none)).value;
  } else {
    const V even = add_row<M, kPoint, 0>(x, none).value;
    const V odd = add_row<M, kPoint, 1>(x, none).value;
    points[kPoint] = hn::Add(even, odd);
    points[kPoint + 1] = hn::Sub(even, odd);
    if constexpr (kPoint + 2 == M::kRealPart) {
      points[kPoint + 2] = add_term<RealFactor<M>>(none, even).value;
      to_points<M, kPoint + 3>(x, points);
    } else {
      to_points<M, kPoint + 2>(x, points);
    }
  }
}

/// sum + the terms of the pairs of rows kPoint, kPoint + 1; ..: `paired` are their sums or differences.
template <class M, int kIndex, int kPoint, bool kEmpty>
HWY_INLINE auto add_pairs(const Vector* paired, Sum<Vector, kEmpty> sum) {
  if constexpr (kPoint > 2 * M::kPairs) {
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
    const Sum<Vector, true> none{hn::Zero(Tag())};
    const auto pairs = add_pairs<M, kIndex, 1>(kIndex % 2 == 0 ? sums : differences, none);
    const auto with_zero = add_term<FactorOf<M, 0, kIndex>>(pairs, points[0]);
    x[kIndex] = add_term<FactorOf<M, kLast, kIndex>>(with_zero, points[kLast]).value;
    combine_points<M, kIndex + 1>(points, sums, differences, x);
  }
}

/// x[k] = sum over p of M[p][k] * points[p].
template <class M>
HWY_INLINE void from_points(const Vector* points, Vector* x) {
  Vector sums[M::kPairs];
  Vector differences[M::kPairs];
#pragma GCC unroll 4
  for (int i = 0; i < M::kPairs; ++i) {
    sums[i] = hn::Add(points[2 * i + 1], points[2 * i + 2]);
    differences[i] = hn::Sub(points[2 * i + 1], points[2 * i + 2]);
  }
  if constexpr (M::kImaginary) {
    const Sum<Vector, false> last{sums[M::kPairs - 1]};
    sums[M::kPairs - 1] = add_term<RealFactor<M>>(last, points[M::kRealPart]).value;
  }
  combine_points<M>(points, sums, differences, x);
}

// Loops over the rows and columns of a tile keep it in registers. Where a vector is one float they would take
// much code and bring little.
#if HWY_TARGET == HWY_SCALAR
inline constexpr int kUnroll = 1;
#else
inline constexpr int kUnroll = 12;
#endif
// Of a tile, rows or columns that are code of their own: all of them, unless who includes this says
// otherwise. Where 16 registers do not hold half a tile, more than four bring nothing.
#ifdef NACRE_WINOGRAD_UNROLLED_LINES
inline constexpr int kUnrollLines = NACRE_WINOGRAD_UNROLLED_LINES;
#elif HWY_TARGET == HWY_AVX2
inline constexpr int kUnrollLines = 4;
#else
inline constexpr int kUnrollLines = kUnroll;
#endif
// Where no registers hold the values between both dimensions by far, rows and columns are a loop.
inline constexpr int kMostUnrolled = 48;
/// body(line) for the rows or columns of a tile by matrix M.
template <class M, int kCount, typename Body>
HWY_INLINE void for_each_line(const Body& body) {
  if constexpr (M::kSize * M::kPoints > kMostUnrolled) {
#pragma GCC unroll 1
    for (int line = 0; line < kCount; ++line) body(line);
  } else {
#pragma GCC unroll kUnrollLines
    for (int line = 0; line < kCount; ++line) body(line);
  }
}

/// Column j of a rectangle, down to the points.
template <class Y, int kColumns>
HWY_INLINE void column_to_points(const Vector* column, Vector (*half)[kColumns], int j) {
  Vector points[Y::kPoints];
  to_points<Y>(column, points);
#pragma GCC unroll kUnroll
  for (int p = 0; p < Y::kPoints; ++p) half[p][j] = points[p];
}

/// Rows of such columns to points: store(p, q, v).
template <class Y, class X, typename Store>
HWY_INLINE void rows_to_points(const Vector (*half)[X::kSize], const Store& store) {
  for_each_line<X, Y::kPoints>([&](int p) HWY_ATTR __attribute__((always_inline)) {
    Vector points[X::kPoints];
    to_points<X>(half[p], points);
#pragma GCC unroll kUnroll
    for (int q = 0; q < X::kPoints; ++q) store(p, q, points[q]);
  });
}

/// Both dimensions, columns by matrix Y and rows by X: load(i, j) gives element [i][j] of a rectangle of
/// Y::kSize x X::kSize, store(p, q, v) takes that of a rectangle of points.
template <class Y, class X, typename Load, typename Store>
HWY_INLINE void plane_to_points(const Load& load, const Store& store) {
  Vector half[Y::kPoints][X::kSize];
  for_each_line<X, X::kSize>([&](int j) HWY_ATTR __attribute__((always_inline)) {
    Vector column[Y::kSize];
#pragma GCC unroll kUnroll
    for (int i = 0; i < Y::kSize; ++i) column[i] = load(i, j);
    column_to_points<Y, X::kSize>(column, half, j);
  });
  rows_to_points<Y, X>(half, store);
}

/// The adjoint: from a rectangle of points to one of Y::kSize x X::kSize.
template <class Y, class X, typename Load, typename Store>
HWY_INLINE void plane_from_points(const Load& load, const Store& store) {
  Vector half[Y::kSize][X::kPoints];
  for_each_line<X, X::kPoints>([&](int q) HWY_ATTR __attribute__((always_inline)) {
    Vector points[Y::kPoints];
    Vector column[Y::kSize];
#pragma GCC unroll kUnroll
    for (int p = 0; p < Y::kPoints; ++p) points[p] = load(p, q);
    from_points<Y>(points, column);
#pragma GCC unroll kUnroll
    for (int i = 0; i < Y::kSize; ++i) half[i][q] = column[i];
  });
  for_each_line<X, Y::kSize>([&](int i) HWY_ATTR __attribute__((always_inline)) {
    Vector row[X::kSize];
    from_points<X>(half[i], row);
#pragma GCC unroll kUnroll
    for (int j = 0; j < X::kSize; ++j) store(i, j, row[j]);
  });
}

/// body(matrices down, matrices across) of an algorithm.
template <typename Body>
void with_matrices(const Algorithm& algorithm, const Body& body) {
  if (algorithm.size == 3 && algorithm.rows == 2) return body(Matrices<2, 3>(), Matrices<2, 3>());
  if (algorithm.size == 3 && algorithm.rows == 6) return body(Matrices<6, 3>(), Matrices<6, 3>());
  if (algorithm.size == 3) return body(Matrices<4, 3>(), Matrices<4, 3>());
  algorithm.rows == 6 ? body(Matrices<6, 5>(), Matrices<6, 5>()) : body(Matrices<4, 5>(), Matrices<4, 5>());
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace nacre::winograd
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
