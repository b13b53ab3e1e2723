#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "engine/shape_text.h"
#include "engine/vector_math.h"
#include "layers/eigen_maps.h"
#include "layers/tensorflow_match.h"
#include "layers/tensorflow_ops.h"

namespace nacre {
namespace {

// Elements that stay in the first-level cache while several functions go over them.
constexpr int64_t kBlock = 2048;

/// Adds, and perhaps sets what is negative to zero in the same sweep.
class Add final : public ReferenceOperator<Add> {
 public:
  Add(const Shape& shape, size_t inputs, bool relu) : relu_(relu) {
    info_.output = shape;
    info_.flops_per_row = static_cast<int64_t>(inputs - 1) * shape.elements_per_row();
    info_.adds_gradients = true;
    info_.gradients_in_place = true;
  }

  void forward(const ForwardArgs<float>& args) const override {
    for_blocks(args.output.size(), args.context.threads, [&](int64_t begin, int64_t count) {
      float* sum = args.output.data + begin;
      add(count, args.inputs[0].data + begin, args.inputs[1].data + begin, sum);
      for (size_t i = 2; i < args.inputs.size(); ++i) add(count, sum, args.inputs[i].data + begin, sum);
      if (relu_) relu_forward(count, sum, sum);
    });
  }

  void backward(const BackwardArgs<float>& args) const override {
    for_blocks(args.grad_output.size(), args.context.threads, [&](int64_t begin, int64_t count) {
      const float* from = args.grad_output.data + begin;
      alignas(kAlignment) float room[kBlock];
      if (relu_) {
        // Where it is to be anyway, if there is such a place.
        float* masked = room;
        for (size_t i = 0; i < args.grad_inputs.size(); ++i) {
          if (args.grad_inputs[i].data != nullptr && !args.adds_to(i))
            masked = args.grad_inputs[i].data + begin;
        }
        relu_backward(count, args.output.data + begin, from, masked);
        from = masked;
      }
      for (size_t i = 0; i < args.grad_inputs.size(); ++i) {
        if (args.grad_inputs[i].data == nullptr) continue;
        float* to = args.grad_inputs[i].data + begin;
        if (args.adds_to(i)) {
          add(count, to, from, to);
        } else if (to != from) {
          std::memcpy(to, from, static_cast<size_t>(count) * sizeof(float));
        }
      }
    });
  }

  template <typename T>
  void reference_forward(const ForwardArgs<T>& args) const {
    for_elements(args.output.size(), args.context.threads, [&](int64_t begin, int64_t end) {
      const auto part = [&](const T* data) { return ConstRowMap<T>(data + begin, end - begin); };
      RowMap<T> sum(args.output.data + begin, end - begin);
      sum = part(args.inputs[0].data) + part(args.inputs[1].data);
      for (size_t i = 2; i < args.inputs.size(); ++i) sum += part(args.inputs[i].data);
      // Not Eigen's max, which may lose a NaN.
      for (int64_t i = begin; relu_ && i < end; ++i) {
        if (args.output.data[i] < T{0}) args.output.data[i] = T{0};
      }
    });
  }

  template <typename T>
  void reference_backward(const BackwardArgs<T>& args) const {
    for_elements(args.grad_output.size(), args.context.threads, [&](int64_t begin, int64_t end) {
      for (const TensorView<T>& grad : args.grad_inputs) {
        if (grad.data == nullptr) continue;
        for (int64_t i = begin; i < end; ++i) {
          grad.data[i] = !relu_ || args.output.data[i] > T{0} ? args.grad_output.data[i] : T{0};
        }
      }
    });
  }

 private:
  /// body(first element, how many).
  template <typename Body>
  static void for_blocks(int64_t elements, int threads, const Body& body) {
    for_elements(elements, threads, [&](int64_t begin, int64_t end) {
      for (; begin < end; begin += kBlock) body(begin, std::min(kBlock, end - begin));
    });
  }

  bool relu_;
};

template <bool relu>
Result<std::unique_ptr<Operator>> create(const OperatorRequest& request) {
  NACRE_RETURN_IF_ERROR(parse_attributes<NoAttrs>(*request.attributes[0]).status());
  const Shape& shape = request.inputs[0];
  NACRE_RETURN_IF_ERROR(check_batch_input(shape));
  for (size_t i = 1; i < request.inputs.size(); ++i) {
    if (request.inputs[i] == shape) continue;
    return Status(StatusCode::kBadData, fmt::format("expected inputs of one shape, found {} and {}",
                                                    batch_shape(shape), batch_shape(request.inputs[i])));
  }
  return std::unique_ptr<Operator>(std::make_unique<Add>(shape, request.inputs.size(), relu));
}

Result<std::string> to_tensorflow(const DescribeRequest& layer, GraphSink& sink) {
  std::string sum = layer.inputs[0];
  for (size_t i = 1; i < layer.inputs.size(); ++i) {
    const bool last = i + 1 == layer.inputs.size();
    sum = add_node(layer, sink, "AddV2", last ? "" : "sum", {sum, layer.inputs[i]});
  }
  return sum;
}

Recognized from_tensorflow(const NodeView& node) {
  const std::string_view op = node.op();
  if ((op != "AddV2" && op != "Add" && op != "AddN") || node.inputs() < 2) {
    return std::optional<RecognizedLayer>();
  }
  RecognizedLayer layer;
  for (size_t i = 0; i < node.inputs(); ++i) {
    if (!node.is_activation(i)) return std::optional<RecognizedLayer>();
    layer.inputs.push_back(&node.input(i));
  }
  extend_layer(layer, node);
  return std::optional(std::move(layer));
}

}  // namespace

OpDef add_op() {
  OpDef op;
  op.name = "Add";
  op.summary = "Adds two or more inputs of one shape element by element.";
  op.formula = "k x [N, ...] -> [N, ...]: y = x1 + x2 + ... + xk, in this order. Gradient: dxi = dy.";
  op.attributes = document_attributes<NoAttrs>();
  op.min_inputs = 2;
  op.max_inputs = 64;
  op.create = create<false>;
  op.normalize = normalize_attributes<NoAttrs>;
  op.to_tensorflow = to_tensorflow;
  op.from_tensorflow = from_tensorflow;
  return op;
}

OpDef add_relu_op() {
  OpDef op;
  op.name = "Add+ReLU";
  op.pattern = {"Add", "ReLU"};
  op.summary = "Add+ReLU in one sweep over memory.";
  op.formula = "k x [N, ...] -> [N, ...]: Add, then ReLU.";
  op.min_inputs = 2;
  op.max_inputs = 64;
  op.create = create<true>;
  op.normalize = normalize_attributes<NoAttrs>;
  return op;
}

}  // namespace nacre
