#include "engine/vector_math.h"
#include "layers/elementwise.h"

namespace nacre {
namespace {

struct ReluFormula {
  using Attrs = NoAttrs;
  explicit ReluFormula(const Attrs& /*attrs*/) {}

  template <typename T>
  [[nodiscard]] T value(T x) const {
    return x < T{0} ? T{0} : x;
  }
  template <typename T>
  [[nodiscard]] T derivative(T /*x*/, T y) const {
    return y > T{0} ? T{1} : T{0};
  }
};

/// The formula, with fast paths.
class Relu final : public Elementwise<ReluFormula> {
 public:
  using Elementwise::Elementwise;

  void forward(const ForwardArgs<float>& args) const override {
    for_elements(args.output.size(), args.context.threads, [&](int64_t begin, int64_t end) {
      relu_forward(end - begin, args.inputs[0].data + begin, args.output.data + begin);
    });
  }

  void backward(const BackwardArgs<float>& args) const override {
    float* grad_in = args.grad_inputs[0].data;
    if (grad_in == nullptr) return;
    for_elements(args.output.size(), args.context.threads, [&](int64_t begin, int64_t end) {
      relu_backward(end - begin, args.output.data + begin, args.grad_output.data + begin, grad_in + begin);
    });
  }
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
  return elementwise_op<ReluFormula, Relu>("ReLU", "Sets negative elements to zero.",
                                           "y = max(x, 0); NaN stays NaN. Gradient: dx = dy where y > 0, "
                                           "else 0 (the choice of TensorFlow at x = 0).",
                                           describe_as<"Relu">, from_tensorflow);
}

}  // namespace nacre
