#include <cmath>

#include "layers/elementwise.h"

namespace nacre {
namespace {

struct Sigmoid {
  using Attrs = NoAttrs;
  explicit Sigmoid(const Attrs& /*attrs*/) {}

  template <typename T>
  [[nodiscard]] T value(T x) const {
    // The exponential of a number below zero never overflows.
    const T e = std::exp(-std::abs(x));
    return (x < T{0} ? e : T{1}) / (T{1} + e);
  }
  template <typename T>
  [[nodiscard]] T derivative(T /*x*/, T y) const {
    return y * (T{1} - y);
  }
  static void forward(int64_t n, const float* x, float* y) { sigmoid_forward(n, x, y); }
  static void backward(int64_t n, const float* y, const float* dy, float* dx) {
    sigmoid_backward(n, y, dy, dx);
  }
};

}  // namespace

OpDef sigmoid_op() {
  return elementwise_op<Sigmoid>("Sigmoid", "Maps every element to between 0 and 1.",
                                 "y = 1 / (1 + exp(-x)). Gradient: dx = dy * y * (1 - y).",
                                 describe_as<"Sigmoid">, recognize_as<"Sigmoid">);
}

}  // namespace nacre
