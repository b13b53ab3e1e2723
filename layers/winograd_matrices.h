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
template <int T, int R>
struct Matrices {
  static constexpr int kTile = T;
  static constexpr int kKernel = R;
  static constexpr int kPoints = T + R - 1;
  static_assert(kPoints == 4 || kPoints == 6 || kPoints == 8);

  /// The finite points. They decide how much is rounded: of a grid of values with few digits these gave the
  /// least error on normally distributed numbers, for 6 points half of that of the customary 0, +-1, +-2 (a
  /// pair below 1 and one above, nearly reciprocal, keeps powers and distances near 1; compare B. Barabasz et
  /// al., "Error Analysis and Improving the Accuracy of Winograd Convolution for Deep Neural Networks",
  /// 2020).
  static constexpr std::array<double, 7> kAt = kPoints == 6
                                                   ? std::array{0.0, 0.625, -0.625, 1.5, -1.5, 0.0, 0.0}
                                                   : std::array{0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5};

  static constexpr double power(double x, int exponent) {
    double result = 1.0;
    for (int i = 0; i < exponent; ++i) result *= x;
    return result;
  }

  /// B'[point][k]: coefficient k of the product of (x - q) over the other finite points q; over all of them
  /// for the point at infinity.
  static constexpr double input(int point, int k) {
    std::array<double, kPoints + 1> polynomial{1.0};
    int degree = 0;
    for (int q = 0; q < kPoints - 1; ++q) {
      if (q == point) continue;
      const double root = kAt[static_cast<size_t>(q)];
      for (int i = ++degree; i >= 0; --i) {
        const auto at = static_cast<size_t>(i);
        polynomial[at] = (i > 0 ? polynomial[at - 1] : 0.0) - root * polynomial[at];
      }
    }
    return polynomial[static_cast<size_t>(k)];
  }

  /// G[point][k]: the kernel's polynomial at the point, over the product of the distances to the others.
  static constexpr double kernel(int point, int k) {
    if (point == kPoints - 1) return k == R - 1 ? 1.0 : 0.0;
    const double at = kAt[static_cast<size_t>(point)];
    double distances = 1.0;
    for (int q = 0; q < kPoints - 1; ++q) {
      if (q != point) distances *= at - kAt[static_cast<size_t>(q)];
    }
    return power(at, k) / distances;
  }

  /// A[point][k].
  static constexpr double output(int point, int k) {
    if (point == kPoints - 1) return k == kTile - 1 ? 1.0 : 0.0;
    return power(kAt[static_cast<size_t>(point)], k);
  }
};

}  // namespace nacre::winograd
