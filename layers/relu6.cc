#include "layers/elementwise.h"

namespace nacre {
namespace {

struct Relu6 {
  using Attrs = NoAttrs;
  explicit Relu6(const Attrs& /*attrs*/) {}

  template <typename T>
  [[nodiscard]] T value(T x) const {
    const T above = x < T{0} ? T{0} : x;
    return above > T{6} ? T{6} : above;
  }
  template <typename T>
  [[nodiscard]] T derivative(T x, T /*y*/) const {
    return ((x > T{0}) & (x < T{6})) ? T{1} : T{0};
  }
  static void forward(int64_t n, const float* x, float* y) { relu6_forward(n, x, y); }
  static void backward(int64_t n, const float* y, const float* dy, float* dx) {
    relu6_backward(n, y, dy, dx);
  }
};

/// Relu6, ClipByValue, or Minimum and Maximum in either order.
Recognized from_tensorflow(const NodeView& node) {
  if (node.op() == "ClipByValue" && node.inputs() == 3 && node.is_activation(0)) {
    if (scalar_input(node, 1) != 0.0F || scalar_input(node, 2) != 6.0F)
      return std::optional<RecognizedLayer>();
    return std::optional(begin_layer(node, 0));
  }
  const bool from_below = node.op() == "Maximum";
  if (!from_below && node.op() != "Minimum") return recognize_as<"Relu6">(node);
  const NodeView* second = node.only_reader();
  if (second == nullptr || second->op() != (from_below ? "Minimum" : "Maximum")) {
    return std::optional<RecognizedLayer>();
  }
  const std::optional<size_t> x = activation_of_two(node);
  const std::optional<size_t> between = activation_of_two(*second);
  if (!x.has_value() || !between.has_value() || scalar_input(node, 1 - *x) != (from_below ? 0.0F : 6.0F) ||
      scalar_input(*second, 1 - *between) != (from_below ? 6.0F : 0.0F)) {
    return std::optional<RecognizedLayer>();
  }
  RecognizedLayer layer = begin_layer(node, *x);
  extend_layer(layer, *second);
  return std::optional(std::move(layer));
}

}  // namespace

OpDef relu6_op() {
  return elementwise_op<Relu6>(
      "ReLU6", "Clips every element to between 0 and 6.",
      "y = min(max(x, 0), 6); NaN stays NaN (Krizhevsky 2010). Gradient: dx = dy where "
      "0 < x < 6, else 0.",
      describe_as<"Relu6">, from_tensorflow);
}

}  // namespace nacre
