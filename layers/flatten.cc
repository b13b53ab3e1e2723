#include <array>
#include <cstring>
#include <memory>

#include "layers/tensorflow_ops.h"

namespace nacre {
namespace {

class Flatten final : public ReferenceOperator<Flatten> {
 public:
  explicit Flatten(const Shape& input) { info_.output = Shape{input[0], input.elements_per_row()}; }

  template <typename T>
  void reference_forward(const ForwardArgs<T>& args) const {
    copy(args.inputs[0].data, args.output, args.context.threads);
  }

  template <typename T>
  void reference_backward(const BackwardArgs<T>& args) const {
    if (args.grad_inputs[0].data == nullptr) return;
    copy(args.grad_output.data, args.grad_inputs[0], args.context.threads);
  }

 private:
  template <typename T>
  static void copy(const T* from, const TensorView<T>& to, int threads) {
    for_elements(to.size(), threads, [&](int64_t begin, int64_t end) {
      std::memcpy(to.data + begin, from + begin, static_cast<size_t>(end - begin) * sizeof(T));
    });
  }
};

Result<std::unique_ptr<Operator>> create(const OperatorRequest& request) {
  NACRE_RETURN_IF_ERROR(parse_attributes<NoAttrs>(*request.attributes[0]).status());
  NACRE_RETURN_IF_ERROR(check_batch_input(request.inputs[0]));
  return std::unique_ptr<Operator>(std::make_unique<Flatten>(request.inputs[0]));
}

Result<std::string> to_tensorflow(const DescribeRequest& layer, GraphSink& sink) {
  const std::array<int64_t, 2> dims{-1, layer.shapes[0].elements_per_row()};
  NACRE_ASSIGN_OR_RETURN(const std::string shape, add_sizes(layer, sink, "shape", Shape{2}, dims));
  return add_node(layer, sink, "Reshape", "", {layer.inputs[0], shape});
}

}  // namespace

OpDef flatten_op() {
  OpDef op;
  op.name = "Flatten";
  op.summary = "Makes one row of each entry of the batch.";
  op.formula =
      "[N, A, B, ...] -> [N, A * B * ...], in row-major order: for images, y[n, (h * W + w) * C + c] = x[n, "
      "h, w, c].";
  op.attributes = document_attributes<NoAttrs>();
  op.create = create;
  op.normalize = normalize_attributes<NoAttrs>;
  op.to_tensorflow = to_tensorflow;
  return op;
}

}  // namespace nacre
