#include <fmt/format.h>

#include <cstring>
#include <memory>
#include <vector>

#include "engine/shape_text.h"
#include "layers/tensorflow_match.h"
#include "layers/tensorflow_ops.h"

namespace nacre {
namespace {

constexpr int64_t kElementsPerChunk = 16 * 1024;

struct ConcatAttrs {
  int64_t axis = -1;

  template <typename Visitor>
  void visit(Visitor& v) {
    v.field("axis", axis, -1, Shape::kMaxRank - 1, "the last one: -1 or its number, 3 for images");
  }
};

/// Seen as positions [P, channels], where P is the product of all extents but the last.
class Concat final : public ReferenceOperator<Concat> {
 public:
  Concat(std::span<const Shape> inputs, const Shape& output) : total_(output[output.rank() - 1]) {
    info_.output = output;
    for (const Shape& input : inputs) channels_.push_back(input[input.rank() - 1]);
  }

  template <typename T>
  void reference_forward(const ForwardArgs<T>& args) const {
    for_positions(args.output.size(), args.context.threads, [&](int64_t begin, int64_t end) {
      int64_t offset = 0;
      for (size_t i = 0; i < channels_.size(); offset += channels_[i++]) {
        for (int64_t p = begin; p < end; ++p) {
          copy(args.inputs[i].data + p * channels_[i], channels_[i], args.output.data + p * total_ + offset);
        }
      }
    });
  }

  template <typename T>
  void reference_backward(const BackwardArgs<T>& args) const {
    for_positions(args.output.size(), args.context.threads, [&](int64_t begin, int64_t end) {
      int64_t offset = 0;
      for (size_t i = 0; i < channels_.size(); offset += channels_[i++]) {
        T* dx = args.grad_inputs[i].data;
        for (int64_t p = begin; dx != nullptr && p < end; ++p) {
          copy(args.grad_output.data + p * total_ + offset, channels_[i], dx + p * channels_[i]);
        }
      }
    });
  }

 private:
  template <typename T>
  static void copy(const T* from, int64_t count, T* to) {
    std::memcpy(to, from, static_cast<size_t>(count) * sizeof(T));
  }

  template <typename Body>
  void for_positions(int64_t elements, int threads, const Body& body) const {
    const int64_t positions = elements / total_;
    const int64_t step = std::max<int64_t>(1, kElementsPerChunk / total_);
    parallel_for(chunks_of(positions, step), threads, [&](int64_t chunk, int /*worker*/) {
      body(chunk * step, std::min(positions, (chunk + 1) * step));
    });
  }

  int64_t total_;
  std::vector<int64_t> channels_;
};

Result<std::unique_ptr<Operator>> create(const OperatorRequest& request) {
  NACRE_ASSIGN_OR_RETURN(const auto attrs, parse_attributes<ConcatAttrs>(*request.attributes[0]));
  const Shape& first = request.inputs[0];
  NACRE_RETURN_IF_ERROR(check_channels_input(first));
  const int last = first.rank() - 1;
  if (attrs.axis != -1 && attrs.axis != last) {
    return Status(StatusCode::kBadData, fmt::format("attribute \"axis\" is {}, expected the last axis of an "
                                                    "input {}: -1 or {}",
                                                    attrs.axis, batch_shape(first), last));
  }
  std::vector<int64_t> dims(first.dims().begin(), first.dims().end());
  for (const Shape& input : request.inputs.subspan(1)) {
    NACRE_RETURN_IF_ERROR(check_channels_input(input));
    const auto outer = input.dims().first(input.dims().size() - 1);
    if (!std::ranges::equal(outer, first.dims().first(static_cast<size_t>(last)))) {
      return Status(StatusCode::kBadData,
                    fmt::format("expected inputs that differ in the last extent only, found {} and {}",
                                batch_shape(first), batch_shape(input)));
    }
    dims.back() += input.dims().back();
  }
  NACRE_ASSIGN_OR_RETURN(const Shape output, Shape::make(dims));
  return std::unique_ptr<Operator>(std::make_unique<Concat>(request.inputs, output));
}

Result<std::string> to_tensorflow(const DescribeRequest& layer, GraphSink& sink) {
  return add_concat(layer, sink, "", layer.inputs, layer.shapes[0].rank() - 1);
}

Recognized from_tensorflow(const NodeView& node) {
  if (node.op() != "ConcatV2" || node.inputs() < 2 || !node.is_activation(0)) {
    return std::optional<RecognizedLayer>();
  }
  const size_t last = node.inputs() - 1;
  const FoldedTensor* axis = node.constant(last);
  const Shape* shape = node.input(0).shape();
  if (axis == nullptr || axis->ints.size() != 1 || shape == nullptr) return std::optional<RecognizedLayer>();
  if (axis->ints[0] != -1 && axis->ints[0] != shape->rank() - 1) {
    return node_error(node, StatusCode::kUnsupported, "expected a concatenation of channels");
  }
  RecognizedLayer layer;
  for (size_t i = 0; i < last; ++i) {
    if (!node.is_activation(i)) return node_error(node, StatusCode::kUnsupported, "concatenates a constant");
    layer.inputs.push_back(&node.input(i));
  }
  extend_layer(layer, node);
  // Of one input, it is that input.
  layer.identity = last == 1;
  return std::optional(std::move(layer));
}

}  // namespace

OpDef concat_op() {
  OpDef op;
  op.name = "Concat";
  op.summary = "Puts the channels of two or more inputs one after the other (Keras's Concatenate).";
  op.formula =
      "[N, ..., C1], ..., [N, ..., Ck] -> [N, ..., C1 + ... + Ck]. Gradient: each input's part of dy.";
  op.attributes = document_attributes<ConcatAttrs>();
  op.min_inputs = 2;
  op.max_inputs = 64;
  op.create = create;
  op.normalize = normalize_attributes<ConcatAttrs>;
  op.to_tensorflow = to_tensorflow;
  op.from_tensorflow = from_tensorflow;
  return op;
}

}  // namespace nacre
