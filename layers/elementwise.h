#pragma once

#include <memory>
#include <string>
#include <utility>

#include "engine/vector_math.h"  // IWYU pragma: export
#include "layers/tensorflow_match.h"
#include "layers/tensorflow_ops.h"

namespace nacre {

/// A layer that maps every element by itself: y = formula.value(x), with gradient dx = dy *
/// formula.derivative(x, y). Formula is made from its attribute struct `Formula::Attrs`; both functions are
/// templates over float and double. A formula may have the same on arrays, fast: forward(n, x, y) and
/// backward(n, y, dy, dx).
template <typename Formula>
class Elementwise : public ReferenceOperator<Elementwise<Formula>> {
 public:
  Elementwise(const typename Formula::Attrs& attrs, const Shape& shape) : formula_(attrs) {
    this->info_.output = shape;
    this->info_.flops_per_row = shape.elements_per_row();
  }

  void forward(const ForwardArgs<float>& args) const override {
    if constexpr (requires(const Formula& f, const float* x, float* y) { f.forward(1, x, y); }) {
      for_elements(args.output.size(), args.context.threads, [&](int64_t begin, int64_t end) {
        formula_.forward(end - begin, args.inputs[0].data + begin, args.output.data + begin);
      });
    } else {
      reference_forward(args);
    }
  }

  void backward(const BackwardArgs<float>& args) const override {
    if constexpr (requires(const Formula& f, const float* y, float* dx) { f.backward(1, y, y, dx); }) {
      float* dx = args.grad_inputs[0].data;
      if (dx == nullptr) return;
      for_elements(args.output.size(), args.context.threads, [&](int64_t begin, int64_t end) {
        formula_.backward(end - begin, args.output.data + begin, args.grad_output.data + begin, dx + begin);
      });
    } else {
      reference_backward(args);
    }
  }

  template <typename T>
  void reference_forward(const ForwardArgs<T>& args) const {
    for_elements(args.output.size(), args.context.threads, [&](int64_t begin, int64_t end) {
      const T* x = args.inputs[0].data;
      T* y = args.output.data;
      for (int64_t i = begin; i < end; ++i) y[i] = formula_.value(x[i]);
    });
  }

  template <typename T>
  void reference_backward(const BackwardArgs<T>& args) const {
    T* dx = args.grad_inputs[0].data;
    if (dx == nullptr) return;
    for_elements(args.output.size(), args.context.threads, [&](int64_t begin, int64_t end) {
      const T* x = args.inputs[0].data;
      const T* y = args.output.data;
      const T* dy = args.grad_output.data;
      for (int64_t i = begin; i < end; ++i) dx[i] = dy[i] * formula_.derivative(x[i], y[i]);
    });
  }

 private:
  Formula formula_;
};

/// OpDef::create of an op that makes an `Op(attributes, shape)` for an input of any shape.
template <typename Op, typename Attrs>
Result<std::unique_ptr<Operator>> create_elementwise(const OperatorRequest& request) {
  NACRE_ASSIGN_OR_RETURN(const auto attrs, parse_attributes<Attrs>(*request.attributes[0]));
  NACRE_RETURN_IF_ERROR(check_batch_input(request.inputs[0]));
  return std::unique_ptr<Operator>(std::make_unique<Op>(attrs, request.inputs[0]));
}

/// The definition of a layer that is a formula. `text` goes on after "[N, ...] -> [N, ...]: ".
template <typename Formula>
OpDef elementwise_op(std::string name, std::string summary, const std::string& text,
                     Result<std::string> (*to_tensorflow)(const DescribeRequest&, GraphSink&),
                     Recognized (*from_tensorflow)(const NodeView&)) {
  OpDef op;
  op.name = std::move(name);
  op.summary = std::move(summary);
  op.formula = "[N, ...] -> [N, ...]: " + text;
  op.attributes = document_attributes<typename Formula::Attrs>();
  op.create = create_elementwise<Elementwise<Formula>, typename Formula::Attrs>;
  op.normalize = normalize_attributes<typename Formula::Attrs>;
  op.to_tensorflow = to_tensorflow;
  op.from_tensorflow = from_tensorflow;
  return op;
}

}  // namespace nacre
