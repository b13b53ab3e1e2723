#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>

#include "layers/tensorflow_match.h"
#include "layers/tensorflow_ops.h"

namespace nacre {
namespace {

class Flatten final : public ReferenceOperator<Flatten> {
 public:
  explicit Flatten(const Shape& input) {
    info_.output = Shape{input[0], input.elements_per_row()};
    info_.is_view = true;
    info_.gradients_in_place = true;
  }

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
    if (from == to.data) return;
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

/// Reshape to rows, or to the shape that is there already; Squeeze of extents of 1.
Recognized from_tensorflow(const NodeView& node) {
  const bool squeeze = node.op() == "Squeeze";
  if ((!squeeze && node.op() != "Reshape") || node.inputs() < 1 || !node.is_activation(0)) {
    return std::optional<RecognizedLayer>();
  }
  const Shape* input = node.input(0).shape();
  if (input == nullptr) return std::optional<RecognizedLayer>();
  RecognizedLayer layer = begin_layer(node, 0);
  if (squeeze) {
    layer.expected_row = input->rank() == 4 && (*input)[1] == 1 && (*input)[2] == 1 ? (*input)[3] : 0;
    if (layer.expected_row == 0) {
      return node_error(node, StatusCode::kUnsupported,
                        "expected images of 1 x 1, found " + input->to_string());
    }
    return std::optional(std::move(layer));
  }
  const FoldedTensor* to = node.inputs() == 2 ? node.constant(1) : nullptr;
  if (to == nullptr || to->ints.empty()) {
    return node_error(node, StatusCode::kUnsupported, "a shape that cannot be told beforehand");
  }
  const std::vector<int64_t>& extents = to->ints;
  if (extents.size() > static_cast<size_t>(Shape::kMaxRank)) {
    return node_error(node, StatusCode::kUnsupported,
                      fmt::format("a shape of more than {} extents", Shape::kMaxRank));
  }
  if (std::ranges::any_of(extents, [](int64_t extent) { return extent < -1 || extent == 0; })) {
    return node_error(node, StatusCode::kCorrupt, "a shape with an extent that is not positive");
  }
  if (extents.front() != FoldedTensor::kBatch && extents.front() != 1) {
    return node_error(node, StatusCode::kUnsupported, "a shape for a fixed number of images");
  }
  layer.identity = static_cast<int>(extents.size()) == input->rank();
  for (size_t i = 1; layer.identity && i < extents.size(); ++i) {
    layer.identity = extents[i] == -1 || extents[i] == (*input)[static_cast<int>(i)];
  }
  if (layer.identity) return std::optional(std::move(layer));
  if (extents.size() != 2) {
    return node_error(node, StatusCode::kUnsupported, "expected a shape [N, features]");
  }
  layer.expected_row = std::max<int64_t>(extents[1], 0);
  return std::optional(std::move(layer));
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
  op.from_tensorflow = from_tensorflow;
  return op;
}

}  // namespace nacre
