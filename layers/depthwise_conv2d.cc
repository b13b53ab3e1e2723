#include <algorithm>
#include <memory>

#include "engine/vector_math.h"
#include "layers/aligned_floats.h"
#include "layers/depthwise_conv.h"
#include "layers/tensorflow_match.h"
#include "layers/tensorflow_ops.h"

namespace nacre {
namespace {

class DepthwiseConv2D final : public ReferenceOperator<DepthwiseConv2D> {
 public:
  DepthwiseConv2D(const DepthwiseAttrs& attrs, const DepthwiseConv& conv, int64_t batch, Mode mode)
      : conv_(conv), g_(conv.g) {
    info_.output = conv.output(batch);
    info_.variables = depthwise_variables(attrs, conv);
    info_.flops_per_row = depthwise_flops(conv);
    info_.per_thread_bytes = conv.scratch_bytes();
    if (mode != Mode::kTraining) return;
    masked_offset_ = align_up(conv.scratch_bytes());
    spread_gradient_offset_ = masked_offset_ + float_bytes(g_.output_size());
    info_.per_thread_bytes = spread_gradient_offset_ + conv.scratch_bytes();
    info_.shared_bytes = float_bytes(std::min(batch, kImageChunks) * partial_floats());
  }

  void forward(const ForwardArgs<float>& args) const override {
    depthwise_forward(conv_, args, args.variables[0].data,
                      args.variables.size() > 1 ? args.variables[1].data : nullptr);
  }

  void backward(const BackwardArgs<float>& args) const override {
    const int64_t batch = args.output.shape[0];
    const int64_t chunks = std::min(batch, kImageChunks);
    auto* partials = args.workspace.shared_as<float>();
    parallel_for(chunks, args.context.threads, [&](int64_t chunk, int worker) {
      auto* scratch = args.workspace.of_thread<std::byte>(worker);
      float* partial = partials + chunk * partial_floats();
      std::fill(partial, partial + partial_floats(), 0.0F);
      for (int64_t n = chunk * batch / chunks; n < (chunk + 1) * batch / chunks; ++n) {
        add_gradients(args, n, scratch, partial);
      }
    });
    const auto add_up = [&](size_t variable, int64_t offset) {
      if (variable >= args.grad_variables.size()) return;
      float* out = args.grad_variables[variable].data;
      const int64_t size = args.grad_variables[variable].size();
      if (out == nullptr) return;
      std::copy_n(partials + offset, size, out);
      for (int64_t chunk = 1; chunk < chunks; ++chunk) {
        add(size, out, partials + chunk * partial_floats() + offset, out);
      }
    };
    add_up(0, 0);
    add_up(1, g_.kernel_size());
  }

  template <typename T>
  void reference_forward(const ForwardArgs<T>& args) const {
    parallel_for(args.output.shape[0], args.context.threads, [&](int64_t n, int /*worker*/) {
      depthwise_forward_reference(conv_, args.inputs[0].data + n * conv_.input_size(), args.variables[0].data,
                                  args.variables.size() > 1 ? args.variables[1].data : nullptr,
                                  args.output.data + n * g_.output_size());
    });
  }

  template <typename T>
  void reference_backward(const BackwardArgs<T>& args) const {
    const auto zeroed = [](const TensorView<T>& view) {
      if (view.data != nullptr) std::fill(view.data, view.data + view.size(), T{0});
      return view.data;
    };
    T* grad_kernel = zeroed(args.grad_variables[0]);
    T* grad_bias = args.grad_variables.size() > 1 ? zeroed(args.grad_variables[1]) : nullptr;
    T* grad_in = zeroed(args.grad_inputs[0]);
    const Window2& window = g_.window;
    for (int64_t i = 0; i < args.output.size(); ++i) {
      if (conv_.clip == Clip::kRelu && !(args.output.data[i] > T{0})) continue;
      const T grad = args.grad_output.data[i];
      const int64_t c = i % g_.channels;
      const int64_t o = i / g_.channels % (window.y.out * window.x.out);
      const int64_t image = i / g_.output_size() * conv_.input_size() + c / conv_.multiplier;
      if (grad_bias != nullptr) grad_bias[c] += grad;
      for_each_cell(window, o / window.x.out, o % window.x.out, [&](int64_t iy, int64_t ix, int64_t cell) {
        const int64_t pixel = image + (iy * window.x.in + ix) * conv_.input_channels();
        const int64_t weight = cell * g_.channels + c;
        if (grad_kernel != nullptr) grad_kernel[weight] += args.inputs[0].data[pixel] * grad;
        if (grad_in != nullptr) grad_in[pixel] += args.variables[0].data[weight] * grad;
      });
    }
  }

 private:
  /// Of one chunk's part of the gradients: kernel, then bias.
  [[nodiscard]] int64_t partial_floats() const { return g_.kernel_size() + g_.channels; }

  void add_gradients(const BackwardArgs<float>& args, int64_t n, std::byte* scratch, float* partial) const {
    const float* grad = gradient_of_sums(args, n, reinterpret_cast<float*>(scratch + masked_offset_));
    float* bias = args.grad_variables.size() > 1 ? partial + g_.kernel_size() : nullptr;
    if (args.grad_variables[0].data != nullptr) {
      const float* image =
          conv_.spread(args.inputs[0].data + n * conv_.input_size(), reinterpret_cast<float*>(scratch));
      depthwise_gradients(g_, image, grad, partial, bias);
    } else if (bias != nullptr) {
      add_rows(g_.window.y.out * g_.window.x.out, g_.channels, grad, bias);
    }
    if (args.grad_inputs[0].data == nullptr) return;
    float* grad_image = args.grad_inputs[0].data + n * conv_.input_size();
    if (conv_.multiplier == 1) {
      depthwise_input_gradient(g_, grad, args.variables[0].data, grad_image);
      return;
    }
    auto* spread = reinterpret_cast<float*>(scratch + spread_gradient_offset_);
    depthwise_input_gradient(g_, grad, args.variables[0].data, spread);
    for (int64_t i = 0; i < conv_.input_size(); ++i, spread += conv_.multiplier) {
      grad_image[i] = spread[0];
      for (int64_t m = 1; m < conv_.multiplier; ++m) grad_image[i] += spread[m];
    }
  }

  /// Image n's gradient before relu: grad_output itself, or a masked copy in `scratch`.
  const float* gradient_of_sums(const BackwardArgs<float>& args, int64_t n, float* scratch) const {
    const float* grad = args.grad_output.data + n * g_.output_size();
    if (conv_.clip == Clip::kNone) return grad;
    const float* y = args.output.data + n * g_.output_size();
    relu_backward(g_.output_size(), y, grad, scratch);
    return scratch;
  }

  DepthwiseConv conv_;
  DepthwiseGeometry g_;
  // Of each thread's workspace; the image with spread channels comes first.
  size_t masked_offset_ = 0;
  size_t spread_gradient_offset_ = 0;
};

Result<std::unique_ptr<Operator>> create(const OperatorRequest& request) {
  NACRE_ASSIGN_OR_RETURN(const auto attrs, parse_attributes<DepthwiseAttrs>(*request.attributes[0]));
  NACRE_ASSIGN_OR_RETURN(const DepthwiseConv conv, make_depthwise_conv(attrs, request.inputs[0]));
  return std::unique_ptr<Operator>(
      std::make_unique<DepthwiseConv2D>(attrs, conv, request.inputs[0][0], request.mode));
}

Result<std::string> to_tensorflow(const DescribeRequest& layer, GraphSink& sink) {
  NACRE_ASSIGN_OR_RETURN(const auto attrs, parse_attributes<DepthwiseAttrs>(layer.attributes));
  const std::string sums =
      add_node(layer, sink, "DepthwiseConv2dNative", "conv", {layer.inputs[0], layer.variables[0]},
               {{"strides", over_image(attrs.strides)}, {"padding", tensorflow_name(attrs.padding)}});
  return add_bias_and_activation(layer, sink, attrs, sums);
}

Recognized from_tensorflow(const NodeView& node) {
  if (node.op() != "DepthwiseConv2dNative" || node.inputs() != 2 || !node.is_activation(0)) {
    return std::optional<RecognizedLayer>();
  }
  NACRE_RETURN_IF_ERROR(check_layout(node));
  const FoldedTensor* kernel = float_input(node, 1);
  if (kernel == nullptr || kernel->shape.rank() != 4) return std::optional<RecognizedLayer>();
  NACRE_ASSIGN_OR_RETURN(const Extent2 dilations, image_attribute(node, "dilations"));
  if (dilations != Extent2{1, 1}) return node_error(node, StatusCode::kUnsupported, "dilations above 1");
  DepthwiseAttrs attrs;
  NACRE_ASSIGN_OR_RETURN(attrs.strides, image_attribute(node, "strides"));
  NACRE_ASSIGN_OR_RETURN(attrs.padding, padding_attribute(node));
  const Shape& shape = kernel->shape;
  attrs.kernel_size = {shape[0], shape[1]};
  attrs.depth_multiplier = shape[3];
  RecognizedLayer layer = begin_layer(node, 0);
  layer.attributes = write_attributes(attrs);
  layer.variables["kernel"] = *kernel;
  NACRE_RETURN_IF_ERROR(take_bias_and_activation(layer, shape[2] * shape[3]));
  return std::optional(std::move(layer));
}

}  // namespace

OpDef depthwise_conv2d_op() {
  OpDef op;
  op.name = "DepthwiseConv2D";
  op.summary = "Slides kernels over images, each channel by itself.";
  op.formula =
      "[N, H, W, C] -> [N, H', W', C * M] with M = depth_multiplier: y[n, i, j, c * M + m] = "
      "activation(bias[c * "
      "M + m] + sum over u, v of x[n, i * stride + u - top, j * stride + v - left, c] * kernel[u, v, c, m]), "
      "zero "
      "outside the image (tf.nn.depthwise_conv2d). Kernel [kh, kw, C, M], bias [C * M]. H' as Conv2D's. "
      "Initialisers: fan_in = kh * kw * C, fan_out = kh * kw * M (Keras's).";
  op.attributes = document_attributes<DepthwiseAttrs>();
  op.create = create;
  op.normalize = normalize_attributes<DepthwiseAttrs>;
  op.to_tensorflow = to_tensorflow;
  op.from_tensorflow = from_tensorflow;
  return op;
}

}  // namespace nacre
