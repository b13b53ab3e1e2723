#include <memory>

#include "engine/vector_math.h"
#include "layers/eigen_maps.h"
#include "layers/op_common.h"

namespace nacre {
namespace {

class Relu final : public ReferenceOperator<Relu> {
 public:
  explicit Relu(const Shape& shape) { info_.output = shape; }

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
