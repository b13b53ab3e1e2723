#include "layers/elementwise.h"

namespace nacre {
namespace {

struct Relu {
  using Attrs = NoAttrs;
  explicit Relu(const Attrs& /*attrs*/) {}

  template <typename T>
  [[nodiscard]] T value(T x) const {
    return x < T{0} ? T{0} : x;
  }
  template <typename T>
  [[nodiscard]] T derivative(T /*x*/, T y) const {
    return y > T{0} ? T{1} : T{0};
  }
  static void forward(int64_t n, const float* x, float* y) { relu_forward(n, x, y); }
  static void backward(int64_t n, const float* y, const float* dy, float* dx) { relu_backward(n, y, dy, dx); }
};

/// Relu, or the larger of x and 0.
Recognized from_tensorflow(const NodeView& node) {
  if (node.op() == "Maximum") {
    const std::optional<size_t> x = activation_of_two(node);
    if (!x.has_value() || scalar_input(node, 1 - *x) != 0.0F) return std::optional<RecognizedLayer>();
    return std::optional(begin_layer(node, *x));
  }
  return recognize_as<"Relu">(node);
}

}  // namespace

OpDef relu_op() {
  return elementwise_op<Relu>("ReLU", "Sets negative elements to zero.",
                              "y = max(x, 0); NaN stays NaN. Gradient: dx = dy where y > 0, "
                              "else 0 (the choice of TensorFlow at x = 0).",
                              describe_as<"Relu">, from_tensorflow);
}

}  // namespace nacre
