#include <algorithm>
#include <array>
#include <memory>

#include "layers/tensorflow_match.h"
#include "layers/tensorflow_ops.h"

namespace nacre {
namespace {

struct ZeroPadAttrs {
  Sides padding{1, 1, 1, 1};

  template <typename Visitor>
  void visit(Visitor& v) {
    v.field(
        "padding", padding, 0, 1 << 20,
        "rows at the top and the bottom, columns at the left and the right (Keras's ((top, bottom), (left, "
        "right)))");
  }
};

class ZeroPad2D final : public ReferenceOperator<ZeroPad2D> {
 public:
  ZeroPad2D(const Sides& padding, const Shape& input, const Shape& output)
      : padding_(padding), height_(input[1]), row_(input[2] * input[3]), channels_(input[3]) {
    info_.output = output;
  }

  template <typename T>
  void reference_forward(const ForwardArgs<T>& args) const {
    const int64_t rows = args.output.shape[1];
    const int64_t out_row = args.output.shape[2] * channels_;
    parallel_for(args.output.shape[0] * rows, args.context.threads, [&](int64_t line, int /*worker*/) {
      const int64_t y = line % rows - padding_.top;
      T* out = args.output.data + line * out_row;
      T* const end = out + out_row;
      if (y >= 0 && y < height_) {
        const T* from = args.inputs[0].data + (line / rows * height_ + y) * row_;
        out = std::fill_n(out, padding_.left * channels_, T{0});
        out = std::copy_n(from, row_, out);
      }
      std::fill(out, end, T{0});
    });
  }

  template <typename T>
  void reference_backward(const BackwardArgs<T>& args) const {
    if (args.grad_inputs[0].data == nullptr) return;
    const int64_t out_rows = args.output.shape[1];
    const int64_t out_row = args.output.shape[2] * channels_;
    parallel_for(args.output.shape[0] * height_, args.context.threads, [&](int64_t line, int /*worker*/) {
      const int64_t from = line / height_ * out_rows + padding_.top + line % height_;
      std::copy_n(args.grad_output.data + from * out_row + padding_.left * channels_, row_,
                  args.grad_inputs[0].data + line * row_);
    });
  }

 private:
  Sides padding_;
  int64_t height_;
  int64_t row_;
  int64_t channels_;
};

Result<std::unique_ptr<Operator>> create(const OperatorRequest& request) {
  NACRE_ASSIGN_OR_RETURN(const auto attrs, parse_attributes<ZeroPadAttrs>(*request.attributes[0]));
  const Shape& input = request.inputs[0];
  NACRE_RETURN_IF_ERROR(check_image_input(input));
  const Sides& sides = attrs.padding;
  const std::array dims{input[0], sides.top + input[1] + sides.bottom, sides.left + input[2] + sides.right,
                        input[3]};
  NACRE_ASSIGN_OR_RETURN(const Shape output, Shape::make(dims));
  return std::unique_ptr<Operator>(std::make_unique<ZeroPad2D>(sides, input, output));
}

Result<std::string> to_tensorflow(const DescribeRequest& layer, GraphSink& sink) {
  NACRE_ASSIGN_OR_RETURN(const auto attrs, parse_attributes<ZeroPadAttrs>(layer.attributes));
  const Sides& sides = attrs.padding;
  const std::array<int64_t, 8> before_and_after{0, 0, sides.top, sides.bottom, sides.left, sides.right, 0, 0};
  NACRE_ASSIGN_OR_RETURN(const std::string paddings,
                         add_sizes(layer, sink, "paddings", Shape{4, 2}, before_and_after));
  return add_node(layer, sink, "Pad", "", {layer.inputs[0], paddings});
}

Recognized from_tensorflow(const NodeView& node) {
  const bool with_value = node.op() == "PadV2";
  if ((node.op() != "Pad" && !with_value) || node.inputs() < 2 || !node.is_activation(0)) {
    return std::optional<RecognizedLayer>();
  }
  if (with_value && scalar_input(node, 2) != 0.0F) {
    return node_error(node, StatusCode::kUnsupported, "expected a padding of zeros");
  }
  const FoldedTensor* sides = node.constant(1);
  if (sides == nullptr)
    return node_error(node, StatusCode::kUnsupported, "sides that cannot be told beforehand");
  const std::vector<int64_t>& cells = sides->ints;
  if (cells.size() != 8 || cells[0] != 0 || cells[1] != 0 || cells[6] != 0 || cells[7] != 0) {
    return node_error(node, StatusCode::kUnsupported, "expected a padding of height and width alone");
  }
  ZeroPadAttrs attrs;
  attrs.padding = {cells[2], cells[3], cells[4], cells[5]};
  RecognizedLayer layer = begin_layer(node, 0);
  layer.attributes = write_attributes(attrs);
  return std::optional(std::move(layer));
}

}  // namespace

OpDef zero_pad2d_op() {
  OpDef op;
  op.name = "ZeroPad2D";
  op.summary = "Puts rows and columns of zeros around images (Keras's ZeroPadding2D).";
  op.formula =
      "[N, H, W, C] -> [N, top + H + bottom, left + W + right, C]: y[n, top + h, left + w, c] = x[n, h, w, "
      "c], "
      "else 0. Gradient: the part of dy inside.";
  op.attributes = document_attributes<ZeroPadAttrs>();
  op.create = create;
  op.normalize = normalize_attributes<ZeroPadAttrs>;
  op.to_tensorflow = to_tensorflow;
  op.from_tensorflow = from_tensorflow;
  return op;
}

}  // namespace nacre
