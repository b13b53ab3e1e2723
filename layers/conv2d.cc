#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "engine/parallel.h"
#include "engine/vector_math.h"
#include "layers/conv_kernels.h"
#include "layers/conv_reference.h"
#include "layers/tensorflow_match.h"
#include "layers/tensorflow_ops.h"

namespace nacre {
namespace {

class Conv2D final : public ReferenceOperator<Conv2D> {
 public:
  Conv2D(const ConvAttrs& attrs, const ConvGeometry& geometry, int64_t batch, Mode mode)
      : g_(geometry), fast_(geometry, geometry.rows(), batch, mode) {
    info_.output = Shape{batch, g_.window.y.out, g_.window.x.out, g_.filters};
    info_.variables = conv_variables(attrs, g_);
    info_.flops_per_row = conv_flops(g_);
    info_.shared_bytes = fast_.shared_bytes();
    info_.packed_bytes = fast_.packed_bytes();
    info_.per_thread_bytes = fast_.per_thread_bytes();
    info_.adds_gradients = true;
    info_.forwards_rows = true;
    if (mode == Mode::kTraining) {
      info_.per_thread_bytes =
          std::max(info_.per_thread_bytes, static_cast<size_t>(row_size()) * sizeof(double));
    }
  }

  void pack(std::span<const TensorView<const float>> variables, int threads,
            std::byte* packed) const override {
    fast_.pack(variables[0].data, threads, reinterpret_cast<float*>(packed));
  }

  void forward(const ForwardArgs<float>& args) const override { fast_.forward(args); }

  void backward(const BackwardArgs<float>& args) const override {
    fast_.backward(args, [&](int64_t n, int64_t, int64_t, int64_t y_begin, int64_t y_end, float* scratch) {
      const int64_t line = g_.window.x.out * g_.filters;
      return grad_of_sums(args, n * row_size() + y_begin * line, (y_end - y_begin) * line, scratch);
    });
  }

  template <typename T>
  void reference_forward(const ForwardArgs<T>& args) const {
    const T* bias = args.variables.size() > 1 ? args.variables[1].data : nullptr;
    parallel_for(args.output.shape[0], args.context.threads, [&](int64_t n, int /*worker*/) {
      conv_forward_reference(g_, args.inputs[0].data + n * g_.image_size(), args.variables[0].data, bias,
                             args.output.data + n * row_size());
    });
  }

  template <typename T>
  void reference_backward(const BackwardArgs<T>& args) const {
    conv_backward_reference(g_, args, [&](int64_t n, T* scratch) {
      return grad_of_sums(args, n * row_size(), row_size(), scratch);
    });
  }

 private:
  [[nodiscard]] int64_t row_size() const { return g_.positions() * g_.filters; }

  /// `count` elements from `offset` of the gradient before relu.
  template <typename T>
  const T* grad_of_sums(const BackwardArgs<T>& args, int64_t offset, int64_t count, T* scratch) const {
    const T* grad = args.grad_output.data + offset;
    if (!g_.relu) return grad;
    const T* y = args.output.data + offset;
    relu_backward(count, y, grad, scratch);
    return scratch;
  }

  ConvGeometry g_;
  ConvKernels fast_;
};

Result<std::unique_ptr<Operator>> create(const OperatorRequest& request) {
  NACRE_ASSIGN_OR_RETURN(const auto attrs, parse_attributes<ConvAttrs>(*request.attributes[0]));
  NACRE_ASSIGN_OR_RETURN(const ConvGeometry geometry, make_conv_geometry(attrs, request.inputs[0]));
  return std::unique_ptr<Operator>(
      std::make_unique<Conv2D>(attrs, geometry, request.inputs[0][0], request.mode));
}

/// Not every TensorFlow convolves in groups on a CPU, so that each group is a Conv2D of its own between a
/// Split and a ConcatV2.
Result<std::string> to_tensorflow(const DescribeRequest& layer, GraphSink& sink) {
  NACRE_ASSIGN_OR_RETURN(const auto attrs, parse_attributes<ConvAttrs>(layer.attributes));
  const auto convolve = [&](const std::string& x, const std::string& kernel) {
    return add_node(layer, sink, "Conv2D", "conv", {x, kernel},
                    {{"strides", over_image(attrs.strides)},
                     {"padding", tensorflow_name(attrs.padding)},
                     {"dilations", over_image(attrs.dilation_rate)}});
  };
  const std::string& x = layer.inputs[0];
  const std::string& kernel = layer.variables[0];
  if (attrs.groups == 1) return add_bias_and_activation(layer, sink, attrs, convolve(x, kernel));
  const std::string axis = add_axis(layer, sink, "split_axis", 3);
  const TfAttributes parts{{"num_split", attrs.groups}};
  const std::string channels = add_node(layer, sink, "Split", "channels", {axis, x}, parts);
  const std::string filters = add_node(layer, sink, "Split", "filters", {axis, kernel}, parts);
  std::vector<std::string> sums;
  for (size_t group = 0; group < static_cast<size_t>(attrs.groups); ++group) {
    sums.push_back(convolve(tensor_of(channels, group), tensor_of(filters, group)));
  }
  return add_bias_and_activation(layer, sink, attrs, add_concat(layer, sink, "concat", std::move(sums), 3));
}

/// The attributes of Conv2D `node` with a kernel of that shape.
Result<ConvAttrs> attributes_of(const NodeView& node, const Shape& kernel) {
  NACRE_RETURN_IF_ERROR(check_layout(node));
  ConvAttrs attrs;
  NACRE_ASSIGN_OR_RETURN(attrs.strides, image_attribute(node, "strides"));
  NACRE_ASSIGN_OR_RETURN(attrs.dilation_rate, image_attribute(node, "dilations"));
  NACRE_ASSIGN_OR_RETURN(attrs.padding, padding_attribute(node));
  if (attrs.strides != Extent2{1, 1} && attrs.dilation_rate != Extent2{1, 1}) {
    return node_error(node, StatusCode::kUnsupported, "strides and dilations above 1 at once");
  }
  attrs.kernel_size = {kernel[0], kernel[1]};
  attrs.filters = kernel[3];
  return attrs;
}

/// The kernel of a Conv2D on an activation; null for other nodes.
const FoldedTensor* kernel_of(const NodeView& node) {
  if (node.op() != "Conv2D" || node.inputs() != 2 || !node.is_activation(0)) return nullptr;
  const FoldedTensor* kernel = float_input(node, 1);
  return kernel != nullptr && kernel->shape.rank() == 4 ? kernel : nullptr;
}

/// Kernels [kh, kw, C, F] put side by side: [kh, kw, C, groups * F].
FoldedTensor joined(const std::vector<const FoldedTensor*>& kernels, const Shape& shape) {
  const int64_t filters = kernels.front()->shape[3];
  const int64_t rows = kernels.front()->shape.num_elements() / filters;
  auto values = std::make_shared<Tensor>(shape);
  for (size_t g = 0; g < kernels.size(); ++g) {
    const float* from = kernels[g]->values().data();
    float* to = values->data() + static_cast<int64_t>(g) * filters;
    for (int64_t row = 0; row < rows; ++row) std::copy_n(from + row * filters, filters, to + row * shape[3]);
  }
  FoldedTensor result;
  result.shape = shape;
  result.floats = std::move(values);
  result.variable = kernels.front()->variable;
  return result;
}

/// Split of the channels, a Conv2D of each part, and ConcatV2: a convolution in groups.
Recognized grouped(const NodeView& split) {
  constexpr int64_t kMaxGroups = 1 << 16;
  constexpr int64_t kMaxJoined = 1 << 26;
  const std::optional<RecognizedLayer> none;
  const size_t groups = split.readers().size();
  if (split.inputs() != 2 || !split.is_activation(1) || groups < 2 || groups > kMaxGroups ||
      split.is_output()) {
    return none;
  }
  const NodeView* concat = split.readers().front()->only_reader();
  if (concat == nullptr || concat->op() != "ConcatV2" || concat->inputs() != groups + 1) return none;
  const FoldedTensor* from = split.constant(0);
  const FoldedTensor* to = concat->constant(groups);
  const auto is_last = [](const FoldedTensor* axis) {
    return axis != nullptr && axis->ints.size() == 1 && (axis->ints[0] == 3 || axis->ints[0] == -1);
  };
  if (!is_last(from) || !is_last(to)) return none;
  RecognizedLayer layer = begin_layer(split, 1);
  std::vector<const FoldedTensor*> kernels;
  std::optional<ConvAttrs> attrs;
  for (size_t g = 0; g < groups; ++g) {
    const NodeView& conv = concat->input(g);
    const FoldedTensor* kernel = kernel_of(conv);
    if (kernel == nullptr || conv.only_reader() != concat || &conv.input(0) != &split ||
        conv.input_port(0) != static_cast<int>(g) || (g > 0 && kernel->shape != kernels.front()->shape)) {
      return none;
    }
    NACRE_ASSIGN_OR_RETURN(const ConvAttrs part, attributes_of(conv, kernel->shape));
    if (attrs.has_value() && write_attributes(part) != write_attributes(*attrs)) return none;
    attrs = part;
    kernels.push_back(kernel);
    extend_layer(layer, conv);
  }
  extend_layer(layer, *concat);
  // Before anything is made: a file of a few bytes may read one kernel many times.
  const Shape& part = kernels.front()->shape;
  const Shape* input = split.input(1).shape();
  const auto count = static_cast<int64_t>(groups);
  if (input == nullptr || input->rank() != 4 || part[3] < 1 || part[2] < 1 ||
      (*input)[3] / count != part[2]) {
    return none;
  }
  if (part.num_elements() > kMaxJoined / count) {
    return node_error(split, StatusCode::kLimit, fmt::format("kernels of more than {} elements", kMaxJoined));
  }
  const Shape whole{part[0], part[1], part[2], part[3] * count};
  attrs->groups = static_cast<int64_t>(groups);
  attrs->filters *= attrs->groups;
  layer.attributes = write_attributes(*attrs);
  layer.variables["kernel"] = joined(kernels, whole);
  NACRE_RETURN_IF_ERROR(take_bias_and_activation(layer, attrs->filters));
  return std::optional(std::move(layer));
}

/// The integers of input `i`, `count` of them; empty when they are not told or not as many.
std::vector<int64_t> integers(const NodeView& node, size_t i, size_t count) {
  const FoldedTensor* value = i < node.inputs() ? node.constant(i) : nullptr;
  return value != nullptr && value->ints.size() == count ? value->ints : std::vector<int64_t>();
}

/// Along one side of the image, as TensorFlow splits it into every `block`-th position: what the convolution
/// pads by itself, beside what makes the side a multiple of `block` and is cut off again.
std::optional<std::pair<int64_t, int64_t>> padding_beside_blocks(int64_t extent, int64_t block,
                                                                 std::span<const int64_t> padded,
                                                                 std::span<const int64_t> cropped) {
  constexpr int64_t kMost = 1 << 24;
  if (block < 1 || block > kMost || padded[0] < 0 || padded[0] > kMost || padded[1] < 0 ||
      padded[1] > kMost) {
    return std::nullopt;
  }
  if (cropped[0] != 0 || cropped[1] < 0 || cropped[1] > padded[1]) return std::nullopt;
  if ((extent + padded[0] + padded[1]) % block != 0) return std::nullopt;
  return std::pair{padded[0], padded[1] - cropped[1]};
}

/// SpaceToBatchND, Conv2D, BatchToSpaceND: how Keras and tf.nn.convolution write a dilation.
Recognized dilated(const NodeView& split) {
  const std::optional<RecognizedLayer> none;
  const NodeView* conv = split.only_reader();
  const NodeView* merge = conv == nullptr ? nullptr : conv->only_reader();
  if (split.inputs() != 3 || !split.is_activation(0) || merge == nullptr || merge->op() != "BatchToSpaceND" ||
      merge->inputs() != 3 || &merge->input(0) != conv) {
    return none;
  }
  const FoldedTensor* kernel = kernel_of(*conv);
  const Shape* input = split.input(0).shape();
  if (kernel == nullptr || input == nullptr || input->rank() != 4) return none;
  NACRE_ASSIGN_OR_RETURN(ConvAttrs attrs, attributes_of(*conv, kernel->shape));
  const std::vector<int64_t> blocks = integers(split, 1, 2);
  const std::vector<int64_t> padded = integers(split, 2, 4);
  const std::vector<int64_t> cropped = integers(*merge, 2, 4);
  if (blocks.empty() || padded.empty() || cropped.empty() || integers(*merge, 1, 2) != blocks ||
      attrs.padding != Padding::kValid || attrs.strides != Extent2{1, 1} ||
      attrs.dilation_rate != Extent2{1, 1}) {
    return none;
  }
  bool same = true;
  bool valid = true;
  for (size_t i = 0; i < 2; ++i) {
    const auto sides =
        padding_beside_blocks((*input)[static_cast<int>(i) + 1], blocks[i],
                              std::span(padded).subspan(2 * i, 2), std::span(cropped).subspan(2 * i, 2));
    if (!sides.has_value()) return none;
    const int64_t reach = blocks[i] * (kernel->shape[static_cast<int>(i)] - 1);
    same = same && sides->first == reach / 2 && sides->second == reach - reach / 2;
    valid = valid && sides->first == 0 && sides->second == 0;
  }
  if (!same && !valid) {
    return node_error(split, StatusCode::kUnsupported,
                      "a dilation with padding that is neither SAME nor VALID");
  }
  attrs.padding = valid ? Padding::kValid : Padding::kSame;
  attrs.dilation_rate = {blocks[0], blocks[1]};
  attrs.groups = kernel->shape[2] > 0 ? (*input)[3] / kernel->shape[2] : 1;
  RecognizedLayer layer = begin_layer(split, 0);
  extend_layer(layer, *conv);
  extend_layer(layer, *merge);
  layer.attributes = write_attributes(attrs);
  layer.variables["kernel"] = *kernel;
  NACRE_RETURN_IF_ERROR(take_bias_and_activation(layer, attrs.filters));
  return std::optional(std::move(layer));
}

Recognized from_tensorflow(const NodeView& node) {
  if (node.op() == "Split") return grouped(node);
  if (node.op() == "SpaceToBatchND") return dilated(node);
  const FoldedTensor* kernel = kernel_of(node);
  if (kernel == nullptr) return std::optional<RecognizedLayer>();
  NACRE_ASSIGN_OR_RETURN(ConvAttrs attrs, attributes_of(node, kernel->shape));
  const Shape* input = node.input(0).shape();
  // TensorFlow takes a kernel of fewer channels than the images have for one of groups.
  if (input != nullptr && input->rank() == 4 && kernel->shape[2] > 0)
    attrs.groups = (*input)[3] / kernel->shape[2];
  RecognizedLayer layer = begin_layer(node, 0);
  layer.attributes = write_attributes(attrs);
  layer.variables["kernel"] = *kernel;
  NACRE_RETURN_IF_ERROR(take_bias_and_activation(layer, attrs.filters));
  return std::optional(std::move(layer));
}

}  // namespace

OpDef conv2d_op() {
  OpDef op;
  op.name = "Conv2D";
  op.summary = "Slides a kernel over images: a convolution layer.";
  op.formula =
      "[N, H, W, C] -> [N, H', W', F]: y[n, i, j, f] = activation(bias[f] + sum over u, v, c of x[n, i * "
      "stride + u * dilation - top, j * stride + v * dilation - left, g * C / groups + c] * kernel[u, v, c, "
      "f]), "
      "zero outside the image, for filter f of group g (tf.nn.conv2d). Kernel [kh, kw, C / groups, F], bias "
      "[F]. "
      "H' = ceil(H / stride) with \"same\", floor((H - (kh - 1) * dilation - 1) / stride) + 1 with "
      "\"valid\". "
      "Initialisers: fan_in = kh * kw * C / groups, fan_out = kh * kw * F.";
  op.attributes = document_attributes<ConvAttrs>();
  op.create = create;
  op.normalize = normalize_attributes<ConvAttrs>;
  op.to_tensorflow = to_tensorflow;
  op.from_tensorflow = from_tensorflow;
  return op;
}

}  // namespace nacre
