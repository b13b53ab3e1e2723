#include <algorithm>
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
  void forward(int64_t n, const float* x, float* y) const { elu_forward(n, static_cast<float>(alpha), x, y); }
  void backward(int64_t n, const float* y, const float* dy, float* dx) const {
    elu_backward(n, static_cast<float>(alpha), y, dy, dx);
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

/// The input that `node` and its other input share, when the other is the op `op`.
const NodeView* other_of(const NodeView& node, const NodeView& input, std::string_view op) {
  if (node.inputs() != 2) return nullptr;
  const NodeView& other = node.input(&node.input(0) == &input ? 1 : 0);
  return other.op() == op ? &other : nullptr;
}

/// Relu(x) + alpha * Elu(Minimum(x, 0)), from its Relu on: what another alpha than 1 is in TensorFlow.
std::optional<RecognizedLayer> bent_by_alpha(const NodeView& relu) {
  const NodeView* sum = relu.only_reader();
  if (sum == nullptr || (sum->op() != "AddV2" && sum->op() != "Add")) return std::nullopt;
  const NodeView* scaled = other_of(*sum, relu, "Mul");
  if (scaled == nullptr || scaled->only_reader() != sum) return std::nullopt;
  const std::optional<size_t> bent_at = activation_of_two(*scaled);
  if (!bent_at.has_value()) return std::nullopt;
  const std::optional<float> alpha = scalar_input(*scaled, 1 - *bent_at);
  const NodeView& bent = scaled->input(*bent_at);
  if (!alpha.has_value() || bent.op() != "Elu" || bent.only_reader() != scaled || bent.inputs() != 1) {
    return std::nullopt;
  }
  const NodeView& negative = bent.input(0);
  const std::optional<size_t> x = activation_of_two(negative);
  if (negative.op() != "Minimum" || negative.only_reader() != &bent || !x.has_value() ||
      scalar_input(negative, 1 - *x) != 0.0F || &negative.input(*x) != &relu.input(0)) {
    return std::nullopt;
  }
  RecognizedLayer layer = begin_layer(relu, 0);
  for (const NodeView* node : {&negative, &bent, scaled, sum}) extend_layer(layer, *node);
  layer.attributes["alpha"] = as_decimal(*alpha);
  return layer;
}

/// SelectV2(Greater(x, 0), Elu(x), alpha * Elu(x)), from its Elu on: what Keras makes of another alpha
/// than 1.
std::optional<RecognizedLayer> chosen_by_sign(const NodeView& bent) {
  if (bent.inputs() != 1 || !bent.is_activation(0) || bent.readers().size() != 2 || bent.is_output()) {
    return std::nullopt;
  }
  const bool first = bent.readers()[0]->op() == "Mul";
  const NodeView& scaled = *bent.readers()[first ? 0 : 1];
  const NodeView& choice = *bent.readers()[first ? 1 : 0];
  if (choice.op() != "SelectV2" || choice.inputs() != 3 || scaled.op() != "Mul") return std::nullopt;
  const NodeView& positive = choice.input(0);
  const std::optional<size_t> bent_at = activation_of_two(scaled);
  if (&choice.input(1) != &bent || &choice.input(2) != &scaled || scaled.only_reader() != &choice ||
      !bent_at.has_value() || positive.op() != "Greater" || positive.inputs() != 2 ||
      positive.only_reader() != &choice || &positive.input(0) != &bent.input(0) ||
      scalar_input(positive, 1) != 0.0F) {
    return std::nullopt;
  }
  const std::optional<float> alpha = scalar_input(scaled, 1 - *bent_at);
  if (!alpha.has_value()) return std::nullopt;
  RecognizedLayer layer = begin_layer(bent, 0);
  for (const NodeView* node : {&positive, &scaled, &choice}) extend_layer(layer, *node);
  layer.attributes["alpha"] = as_decimal(*alpha);
  return layer;
}

/// The layer that begins beside `node`, at a reader of its input x that is `op`, when `node` is part of it.
template <typename Begin>
std::optional<RecognizedLayer> begun_beside(const NodeView& node, const NodeView& x, std::string_view op,
                                            const Begin& begin) {
  constexpr size_t kMostReaders = 16;  // a graph of many would take time in the square of them
  if (x.readers().size() > kMostReaders) return std::nullopt;
  for (const NodeView* reader : x.readers()) {
    if (reader->op() != op) continue;
    std::optional<RecognizedLayer> layer = begin(*reader);
    if (layer.has_value() && std::ranges::find(layer->covered, &node) != layer->covered.end()) return layer;
  }
  return std::nullopt;
}

Recognized from_tensorflow(const NodeView& node) {
  if (node.op() == "Relu" && node.inputs() == 1) return bent_by_alpha(node);
  // Branches of the same: any may come first.
  if (node.op() == "Greater" && node.inputs() == 2) {
    return begun_beside(node, node.input(0), "Elu", chosen_by_sign);
  }
  if (node.op() == "Minimum") {
    const std::optional<size_t> x = activation_of_two(node);
    if (!x.has_value()) return std::optional<RecognizedLayer>();
    return begun_beside(node, node.input(*x), "Relu", bent_by_alpha);
  }
  if (node.op() == "Elu") {
    std::optional<RecognizedLayer> layer = chosen_by_sign(node);
    if (layer.has_value()) return layer;
  }
  return recognize_as<"Elu">(node);
}

}  // namespace

OpDef elu_op() {
  return elementwise_op<Elu>(
      "ELU", "Bends negative elements towards -alpha.",
      "y = x where x >= 0, else alpha * (exp(x) - 1); NaN stays NaN (Clevert, "
      "Unterthiner, Hochreiter 2016). Gradient: dx = dy where x > 0, else dy * (y + alpha).",
      to_tensorflow, from_tensorflow);
}

}  // namespace nacre
