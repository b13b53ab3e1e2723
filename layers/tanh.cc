#include <cmath>

#include "layers/elementwise.h"

namespace nacre {
namespace {

struct Tanh {
  using Attrs = NoAttrs;
  explicit Tanh(const Attrs& /*attrs*/) {}

  template <typename T>
  [[nodiscard]] T value(T x) const {
    return std::tanh(x);
  }
  template <typename T>
  [[nodiscard]] T derivative(T /*x*/, T y) const {
    return T{1} - y * y;
  }
  static void forward(int64_t n, const float* x, float* y) { tanh_forward(n, x, y); }
  static void backward(int64_t n, const float* y, const float* dy, float* dx) { tanh_backward(n, y, dy, dx); }
};

}  // namespace

OpDef tanh_op() {
  return elementwise_op<Tanh>("Tanh", "Maps every element to between -1 and 1.",
                              "y = tanh(x). Gradient: dx = dy * (1 - y^2).", describe_as<"Tanh">,
                              recognize_as<"Tanh">);
}

}  // namespace nacre
