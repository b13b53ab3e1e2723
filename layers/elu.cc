#include <cmath>

#include "layers/elementwise.h"

namespace nacre {
namespace {

struct EluAttrs {
  double alpha = 1.0;

  template <typename Visitor>
  void visit(Visitor& v) {
    v.field("alpha", alpha, 0.0, 1000.0, "minus the limit of the result for x far below 0");
  }
};

struct Elu {
  using Attrs = EluAttrs;
  explicit Elu(const Attrs& attrs) : alpha(attrs.alpha) {}

  template <typename T>
  [[nodiscard]] T value(T x) const {
    return x < T{0} ? static_cast<T>(alpha) * std::expm1(x) : x;
  }
  template <typename T>
  [[nodiscard]] T derivative(T x, T y) const {
    return x > T{0} ? T{1} : y + static_cast<T>(alpha);
  }

  double alpha;
};

/// TensorFlow's Elu knows no alpha but 1. With another, y = relu(x) + alpha * elu(min(x, 0)).
Result<std::string> to_tensorflow(const DescribeRequest& layer, GraphSink& sink) {
  NACRE_ASSIGN_OR_RETURN(const auto attrs, parse_attributes<EluAttrs>(layer.attributes));
  const std::string& x = layer.inputs[0];
  if (attrs.alpha == 1.0) return add_node(layer, sink, "Elu", "", {x});
  const std::string zero = add_float(layer, sink, "zero", 0.0F);
  const std::string alpha = add_float(layer, sink, "alpha", static_cast<float>(attrs.alpha));
  const std::string negative = add_node(layer, sink, "Minimum", "negative", {x, zero});
  const std::string bent = add_node(layer, sink, "Elu", "elu", {negative});
  const std::string scaled = add_node(layer, sink, "Mul", "scaled", {bent, alpha});
  const std::string positive = add_node(layer, sink, "Relu", "relu", {x});
  return add_node(layer, sink, "AddV2", "", {positive, scaled});
}

}  // namespace

OpDef elu_op() {
  return elementwise_op<Elu>(
      "ELU", "Bends negative elements towards -alpha.",
      "y = x where x >= 0, else alpha * (exp(x) - 1); NaN stays NaN (Clevert, "
      "Unterthiner, Hochreiter 2016). Gradient: dx = dy where x > 0, else dy * (y + alpha).",
      to_tensorflow);
}

}  // namespace nacre
