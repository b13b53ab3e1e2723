#include <algorithm>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "engine/parallel.h"
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
    if (mode == Mode::kTraining) {
      info_.per_thread_bytes =
          std::max(info_.per_thread_bytes, static_cast<size_t>(row_size()) * sizeof(double));
    }
  }

  void pack(std::span<const TensorView<const float>> variables, int threads,
            std::byte* packed) const override {
    fast_.pack(variables[0].data, threads, reinterpret_cast<float*>(packed));
  }

  void forward(const ForwardArgs<float>& args) const override {
    fast_.forward(args, true, [](int64_t, int64_t, int64_t, int64_t, float*) {});
  }

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
    for (int64_t i = 0; i < count; ++i) scratch[i] = y[i] > T{0} ? grad[i] : T{0};
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
FoldedTensor joined(const std::vector<const FoldedTensor*>& kernels) {
  const Shape& part = kernels.front()->shape;
  const auto filters = static_cast<size_t>(part[3]);
  const size_t groups = kernels.size();
  std::vector<float> values(kernels.front()->values().size() * groups);
  for (size_t g = 0; g < groups; ++g) {
    const std::span<const float> from = kernels[g]->values();
    for (size_t i = 0; i < from.size(); ++i) {
      values[i / filters * filters * groups + g * filters + i % filters] = from[i];
    }
  }
  FoldedTensor result = make_folded(Shape{part[0], part[1], part[2], part[3] * static_cast<int64_t>(groups)},
                                    std::move(values));
  result.variable = kernels.front()->variable;
  return result;
}

/// Split of the channels, a Conv2D of each part, and ConcatV2: a convolution in groups.
Recognized grouped(const NodeView& split) {
  constexpr int64_t kMaxGroups = 1 << 16;
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
  attrs->groups = static_cast<int64_t>(groups);
  attrs->filters *= attrs->groups;
  layer.attributes = write_attributes(*attrs);
  layer.variables["kernel"] = joined(kernels);
  NACRE_RETURN_IF_ERROR(take_bias_and_activation(layer, attrs->filters));
  return std::optional(std::move(layer));
}

Recognized from_tensorflow(const NodeView& node) {
  if (node.op() == "Split") return grouped(node);
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
