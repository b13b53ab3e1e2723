#pragma once

#include <array>
#include <cstddef>

namespace nacre::winograd {

/// The matrices of Winograd's convolution F(T x T, R x R): a tile of T x T outputs from T + R - 1 inputs
/// squared is A' [(G k G') * (B' d B)] A, the product in the middle element by element (S. Winograd,
/// "Arithmetic Complexity of Computations", 1980; A. Lavin and S. Gray, "Fast Algorithms for Convolutional
/// Neural Networks", 2016). They are Toom-Cook's: polynomials evaluated at kPoints - 1 points and at
/// infinity. A point p is followed by -p, whose coefficients differ in the sign of odd powers only; the
/// transforms make use of that.
///
/// Ten inputs are too many for real points, whose powers lie too far apart: they round ten times as much. So
/// two of their points are i and -i. There a polynomial is a complex number, and what it is at one of them is
/// known from the other; the product of two complex numbers takes three real ones (A. Karatsuba). Three rows
/// stand for the pair: real part + imaginary part, real part - imaginary part, and the real part alone. As
/// imaginary parts are of the odd powers, the first two differ like those of p and -p, and the third is a
/// multiple of what both have in common.
template <int T, int R>
struct Matrices {
  static constexpr int kTile = T;
  static constexpr int kKernel = R;
  static constexpr int kInputs = T + R - 1;  // under a tile
  static_assert(kInputs == 4 || kInputs == 6 || kInputs == 8 || kInputs == 10);
  static constexpr bool kImaginary = kInputs == 10;
  /// Rows of the matrices: the point 0, kPairs of rows, perhaps the real part at i, infinity.
  static constexpr int kPoints = kInputs + (kImaginary ? 1 : 0);
  static constexpr int kPairs = kPoints / 2 - 1;
  static constexpr int kFinite = kImaginary ? 7 : kInputs - 1;  // real points
  static constexpr int kRealPart = kImaginary ? kPoints - 2 : -1;

  /// The finite points. They decide how much is rounded: of a grid of values with few digits these gave the
  /// least error on normally distributed numbers, for 6 points half of that of the customary 0, +-1, +-2 (a
  /// pair below 1 and one above, nearly reciprocal, keeps powers and distances near 1; compare B. Barabasz et
  /// al., "Error Analysis and Improving the Accuracy of Winograd Convolution for Deep Neural Networks",
  /// 2020).
  static constexpr std::array<double, 7> kAt = kInputs == 6
                                                   ? std::array{0.0, 0.625, -0.625, 1.5, -1.5, 0.0, 0.0}
                                                   : std::array{0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5};

  static constexpr double power(double x, int exponent) {
    double result = 1.0;
    for (int i = 0; i < exponent; ++i) result *= x;
    return result;
  }

  /// The product of (x - q) over the finite points q but one, and of x * x + 1 if `imaginary`.
  static constexpr std::array<double, kPoints + 1> others(int point, bool imaginary) {
    std::array<double, kPoints + 1> polynomial{1.0};
    size_t degree = 0;
    for (int q = 0; q < kFinite; ++q) {
      if (q == point) continue;
      const double root = kAt[static_cast<size_t>(q)];
      for (size_t i = ++degree; i > 0; --i) polynomial[i] = polynomial[i - 1] - root * polynomial[i];
      polynomial[0] *= -root;
    }
    for (size_t i = degree + 2; imaginary && i >= 2; --i) polynomial[i] += polynomial[i - 2];
    return polynomial;
  }

  /// The coefficient of power k in one of the rows of i and -i: of the real part or of the imaginary one.
  static constexpr double part(int point, int k, double real, double imaginary) {
    if (k % 2 == 0) return real;
    if (point == kRealPart) return 0.0;
    return point == kFinite ? imaginary : -imaginary;
  }
  static constexpr double power_of_i(int point, int k) {
    const double sign = k % 4 < 2 ? 1.0 : -1.0;
    return part(point, k, sign, sign);
  }
  static constexpr bool at_i(int point) { return kImaginary && point >= kFinite && point <= kRealPart; }

  /// B'[point][k]: coefficient k of the product of (x - q) over the other finite points q; over all of them
  /// for the point at infinity. The polynomial that is at i what it should be and zero elsewhere is made of
  /// the product N over all real points, which is imaginary there, and of x N.
  static constexpr double input(int point, int k) {
    const auto at = static_cast<size_t>(k);
    if (!at_i(point)) return others(point < kFinite ? point : -1, kImaginary)[at];
    const auto all = others(-1, false);
    return part(point, k, k == 0 ? 0.0 : all[at - 1], all[at]);
  }

  /// G[point][k]: the kernel's polynomial at the point, over the product of the distances to the others.
  static constexpr double kernel(int point, int k) {
    if (point == kPoints - 1) return k == R - 1 ? 1.0 : 0.0;
    double distances = 1.0;
    if (at_i(point)) {
      // N(i) / i; a product of complex numbers needs half of the first two rows, and twice the third.
      for (int q = 1; q < kFinite; q += 2) {
        distances *= -1.0 - kAt[static_cast<size_t>(q)] * kAt[static_cast<size_t>(q)];
      }
      return power_of_i(point, k) * (point == kRealPart ? kRealPartOfKernel : 1.0) / (2.0 * distances);
    }
    const double at = kAt[static_cast<size_t>(point)];
    for (int q = 0; q < kFinite; ++q) {
      if (q != point) distances *= at - kAt[static_cast<size_t>(q)];
    }
    return power(at, k) / (kImaginary ? distances * (at * at + 1.0) : distances);
  }
  /// What the row of the real part at i has in place of the even powers of the two before it.
  static constexpr double kRealPartOfKernel = -4.0;

  /// A[point][k].
  static constexpr double output(int point, int k) {
    if (point == kPoints - 1) return k == kTile - 1 ? 1.0 : 0.0;
    if (at_i(point)) return power_of_i(point, k);
    return power(kAt[static_cast<size_t>(point)], k);
  }
};

}  // namespace nacre::winograd
