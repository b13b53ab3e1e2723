#include <array>
#include <cmath>
#include <memory>
#include <string>

#include "engine/random.h"
#include "engine/vector_math.h"
#include "layers/tensorflow_match.h"
#include "layers/tensorflow_ops.h"

namespace nacre {
namespace {

struct DropoutAttrs {
  double rate = 0.5;

  template <typename Visitor>
  void visit(Visitor& v) {
    v.field("rate", rate, 0.0, 0.99, "share of the elements that training sets to 0");
  }
};

class Dropout final : public ReferenceOperator<Dropout> {
 public:
  Dropout(const DropoutAttrs& attrs, std::string_view node_name, const Shape& shape)
      : purpose_(hash_name("dropout/" + std::string(node_name))),
        threshold_(static_cast<uint32_t>(std::ldexp(attrs.rate, 32))),
        scale_(1.0 / (1.0 - attrs.rate)) {
    info_.output = shape;
  }

  template <typename T>
  void reference_forward(const ForwardArgs<T>& args) const {
    apply(args.inputs[0].data, args.output, args.context);
  }

  template <typename T>
  void reference_backward(const BackwardArgs<T>& args) const {
    // The draws depend on counters only, so they are drawn again instead of kept.
    if (args.grad_inputs[0].data != nullptr) apply(args.grad_output.data, args.grad_inputs[0], args.context);
  }

 private:
  template <typename T>
  void apply(const T* in, const TensorView<T>& out, const StepContext& context) const {
    if (context.mode != Mode::kTraining) {
      for_elements(out.size(), context.threads,
                   [&](int64_t begin, int64_t end) { std::copy(in + begin, in + end, out.data + begin); });
      return;
    }
    const int64_t row_size = out.shape.elements_per_row();
    const T scale = static_cast<T>(scale_);
    parallel_for(out.shape[0], context.threads, [&](int64_t row, int /*worker*/) {
      const auto sample = static_cast<uint64_t>(context.samples[static_cast<size_t>(row)]);
      const RandomStream random(context.seed, purpose_, context.epoch, sample);
      std::array<uint32_t, 256> bits;
      const T* x = in + row * row_size;
      T* y = out.data + row * row_size;
      for (int64_t begin = 0; begin < row_size; begin += std::ssize(bits)) {
        const int64_t count = std::min<int64_t>(std::ssize(bits), row_size - begin);
        random.fill_bits(static_cast<uint64_t>(begin), static_cast<uint64_t>(count), bits.data());
        drop(count, bits.data(), threshold_, scale, x + begin, y + begin);
      }
    });
  }

  uint64_t purpose_;
  uint32_t threshold_;  // elements with fewer random bits than this are dropped
  double scale_;
};

Result<std::unique_ptr<Operator>> create(const OperatorRequest& request) {
  NACRE_ASSIGN_OR_RETURN(const auto attrs, parse_attributes<DropoutAttrs>(*request.attributes[0]));
  NACRE_RETURN_IF_ERROR(check_batch_input(request.inputs[0]));
  return std::unique_ptr<Operator>(std::make_unique<Dropout>(attrs, request.node_name, request.inputs[0]));
}

/// In inference it does nothing, so there is nothing to add.
Result<std::string> to_tensorflow(const DescribeRequest& layer, GraphSink& /*sink*/) {
  return layer.inputs[0];
}

/// The random number behind `compared`: GreaterEqual(RandomUniform, 0), which is always true.
bool keeps_all(const NodeView& compared) {
  return compared.op() == "GreaterEqual" && compared.inputs() == 2 &&
         compared.input(0).op() == "RandomUniform" && scalar_input(compared, 1) == 0.0F;
}

/// Floor(1 + RandomUniform), which is always 1.
bool is_one(const NodeView& floored) {
  if (floored.op() != "Floor" || floored.inputs() != 1) return false;
  const NodeView& sum = floored.input(0);
  for (size_t i = 0; i < 2 && sum.inputs() == 2; ++i) {
    if (scalar_input(sum, i) == 1.0F && sum.input(1 - i).op() == "RandomUniform") {
      return sum.op() == "AddV2" || sum.op() == "Add";
    }
  }
  return false;
}

/// Parts of tf.nn.dropout with a rate of 0: a division or multiplication by 1, and the choice of what is
/// kept.
Recognized from_tensorflow(const NodeView& node) {
  const auto identity = [&](size_t i) {
    RecognizedLayer layer = begin_layer(node, i);
    layer.identity = true;
    return std::optional(std::move(layer));
  };
  const std::string_view op = node.op();
  if ((op == "RealDiv" || op == "Mul") && node.inputs() == 2 && node.is_activation(0)) {
    if (scalar_input(node, 1) == 1.0F) return identity(0);
    if (op == "Mul" && is_one(node.input(1))) return identity(0);
    if (op == "Mul" && node.input(1).op() == "Cast" && node.input(1).inputs() == 1 &&
        keeps_all(node.input(1).input(0))) {
      return identity(0);
    }
  }
  if (op == "SelectV2" && node.inputs() == 3 && keeps_all(node.input(0)) && node.is_activation(1)) {
    return identity(1);
  }
  return std::optional<RecognizedLayer>();
}

}  // namespace

OpDef dropout_op() {
  OpDef op;
  op.name = "Dropout";
  op.summary =
      "In training, sets random elements to zero and scales the others up; in inference, does nothing.";
  op.formula =
      "[N, ...] -> [N, ...]: y = x / (1 - rate) with probability 1 - rate, else 0 (inverted dropout; "
      "Srivastava et al. 2014). What is dropped depends only on seed, node, epoch, sample and element.";
  op.attributes = document_attributes<DropoutAttrs>();
  op.training_only = true;
  op.create = create;
  op.normalize = normalize_attributes<DropoutAttrs>;
  op.to_tensorflow = to_tensorflow;
  op.from_tensorflow = from_tensorflow;
  return op;
}

}  // namespace nacre
