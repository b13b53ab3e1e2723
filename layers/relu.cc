#include <memory>

#include "layers/eigen_maps.h"
#include "layers/op_common.h"

namespace nacre {
namespace {

class Relu final : public ReferenceOperator<Relu> {
 public:
  explicit Relu(const Shape& shape) { info_.output = shape; }

  void forward(const ForwardArgs<float>& args) const override {
    const float* in = args.inputs[0].data;
    float* out = args.output.data;
    for_elements(args.output.size(), args.context.threads, [&](int64_t begin, int64_t end) {
      // Written so that a NaN, which is not below zero, passes.
      for (int64_t i = begin; i < end; ++i) out[i] = in[i] < 0.0F ? 0.0F : in[i];
    });
  }

  void backward(const BackwardArgs<float>& args) const override {
    float* grad_in = args.grad_inputs[0].data;
    if (grad_in == nullptr) return;
    const float* out = args.output.data;
    const float* grad_out = args.grad_output.data;
    for_elements(args.output.size(), args.context.threads, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) grad_in[i] = out[i] > 0.0F ? grad_out[i] : 0.0F;
    });
  }

  template <typename T>
  void reference_forward(const ForwardArgs<T>& args) const {
    const ConstRowMap<T> in(args.inputs[0].data, args.output.size());
    RowMap<T>(args.output.data, args.output.size()) = (in.array() < T{0}).select(T{0}, in);
  }

  template <typename T>
  void reference_backward(const BackwardArgs<T>& args) const {
    if (args.grad_inputs[0].data == nullptr) return;
    const int64_t size = args.output.size();
    const ConstRowMap<T> out(args.output.data, size);
    const ConstRowMap<T> grad_out(args.grad_output.data, size);
    RowMap<T>(args.grad_inputs[0].data, size) = (out.array() > T{0}).select(grad_out, T{0});
  }
};

Result<std::unique_ptr<Operator>> create(const OperatorRequest& request) {
  NACRE_RETURN_IF_ERROR(parse_attributes<NoAttrs>(*request.attributes[0]).status());
  NACRE_RETURN_IF_ERROR(check_batch_input(request.inputs[0]));
  return std::unique_ptr<Operator>(std::make_unique<Relu>(request.inputs[0]));
}

}  // namespace

OpDef relu_op() {
  OpDef op;
  op.name = "ReLU";
  op.summary = "Sets negative elements to zero.";
  op.formula =
      "[N, ...] -> [N, ...]: y = max(x, 0); NaN stays NaN. Gradient: dx = dy where y > 0, else 0 (the choice "
      "of TensorFlow at x = 0).";
  op.attributes = document_attributes<NoAttrs>();
  op.create = create;
  op.normalize = normalize_attributes<NoAttrs>;
  return op;
}

}  // namespace nacre
