#include "layers/elementwise.h"

namespace nacre {
namespace {

struct LeakyReluAttrs {
  double negative_slope = 0.3;

  template <typename Visitor>
  void visit(Visitor& v) {
    v.field("negative_slope", negative_slope, 0.0, 1000.0, "what negative elements are multiplied by");
  }
};

struct LeakyRelu {
  using Attrs = LeakyReluAttrs;
  explicit LeakyRelu(const Attrs& attrs) : negative_slope(attrs.negative_slope) {}

  template <typename T>
  [[nodiscard]] T value(T x) const {
    return x < T{0} ? static_cast<T>(negative_slope) * x : x;
  }
  template <typename T>
  [[nodiscard]] T derivative(T x, T /*y*/) const {
    return x > T{0} ? T{1} : static_cast<T>(negative_slope);
  }
  void forward(int64_t n, const float* x, float* y) const {
    leaky_relu_forward(n, static_cast<float>(negative_slope), x, y);
  }
  void backward(int64_t n, const float* y, const float* dy, float* dx) const {
    leaky_relu_backward(n, static_cast<float>(negative_slope), y, dy, dx);
  }

  double negative_slope;
};

Result<std::string> to_tensorflow(const DescribeRequest& layer, GraphSink& sink) {
  NACRE_ASSIGN_OR_RETURN(const auto attrs, parse_attributes<LeakyReluAttrs>(layer.attributes));
  return add_node(layer, sink, "LeakyRelu", "", layer.inputs,
                  {{"alpha", static_cast<float>(attrs.negative_slope)}});
}

Recognized from_tensorflow(const NodeView& node) {
  constexpr float kTensorFlowsDefault = 0.2F;
  NACRE_ASSIGN_OR_RETURN(std::optional<RecognizedLayer> layer, recognize_as<"LeakyRelu">(node));
  if (!layer.has_value()) return layer;
  NACRE_ASSIGN_OR_RETURN(layer->attributes["negative_slope"],
                         decimal_attribute(node, "alpha", kTensorFlowsDefault));
  return layer;
}

}  // namespace

OpDef leaky_relu_op() {
  return elementwise_op<LeakyRelu>(
      "LeakyReLU", "Makes negative elements smaller.",
      "y = x where x >= 0, else negative_slope * x; NaN stays NaN (Maas, Hannun, Ng 2013). Gradient: dx = dy "
      "where x > 0, else negative_slope * dy.",
      to_tensorflow, from_tensorflow);
}

}  // namespace nacre
