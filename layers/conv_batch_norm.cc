#include <algorithm>
#include <array>
#include <memory>
#include <span>
#include <vector>

#include "layers/batch_norm.h"
#include "layers/conv_kernels.h"
#include "layers/conv_reference.h"
#include "layers/depthwise_kernels.h"

namespace nacre {
namespace {

/// Conv2D, the BatchNorm behind it and perhaps a clipping activation, in inference: a convolution with
/// another kernel and bias.
class ConvBatchNorm final : public ReferenceOperator<ConvBatchNorm> {
 public:
  ConvBatchNorm(const ConvAttrs& conv, const ConvGeometry& geometry, const BatchNormAttrs& norm, Clip clip,
                int64_t batch)
      : g_(geometry),
        norm_(norm),
        use_bias_(conv.use_bias),
        clip_(clip),
        fast_(clipped(geometry, clip), geometry.rows(), batch, Mode::kInference),
        folded_offset_(align_up(fast_.packed_bytes())),
        kernel_offset_(align_up(fast_.shared_bytes())) {
    info_.output = Shape{batch, g_.window.y.out, g_.window.x.out, g_.filters};
    info_.variables = conv_variables(conv, g_);
    std::ranges::move(batch_norm_variables(norm, g_.filters, 1), std::back_inserter(info_.variables));
    info_.flops_per_row = conv_flops(g_) + 2 * info_.output.elements_per_row();
    info_.packed_bytes = folded_offset_ + shift_bytes();
    // The kernel times the scales, the shifts, the scales; of the reference, scales and shifts.
    info_.shared_bytes = kernel_offset_ + kernel_bytes() + 2 * shift_bytes();
    info_.per_thread_bytes = fast_.per_thread_bytes();
  }

  /// The scales go into the kernel, the shifts take the bias's place.
  void forward(const ForwardArgs<float>& args) const override {
    auto* kernel = reinterpret_cast<float*>(args.workspace.shared + kernel_offset_);
    auto* shift = reinterpret_cast<float*>(args.workspace.shared + kernel_offset_ + kernel_bytes());
    auto* scale =
        reinterpret_cast<double*>(args.workspace.shared + kernel_offset_ + kernel_bytes() + shift_bytes());
    if (args.packed == nullptr) fold(args.variables, scale, kernel, shift);
    const float* bias =
        args.packed == nullptr ? shift : reinterpret_cast<const float*>(args.packed + folded_offset_);
    const std::array folded{TensorView<const float>{kernel, args.variables[0].shape},
                            TensorView<const float>{bias, Shape{g_.filters}}};
    ForwardArgs<float> sums = args;
    sums.variables = folded;
    fast_.forward(sums);
  }

  void pack(std::span<const TensorView<const float>> variables, int threads,
            std::byte* packed) const override {
    std::vector<float> kernel(static_cast<size_t>(g_.kernel_size()));
    std::vector<double> scale(static_cast<size_t>(g_.filters));
    fold(variables, scale.data(), kernel.data(), reinterpret_cast<float*>(packed + folded_offset_));
    fast_.pack(kernel.data(), threads, reinterpret_cast<float*>(packed));
  }

  template <typename T>
  void reference_forward(const ForwardArgs<T>& args) const {
    T* scale = reinterpret_cast<T*>(args.workspace.shared + kernel_offset_);
    T* shift = scale + g_.filters;
    for (int64_t f = 0; f < g_.filters; ++f) {
      const ChannelAffine map = affine(args.variables, f);
      scale[f] = static_cast<T>(map.scale);
      shift[f] = static_cast<T>(map.shift);
    }
    parallel_for(args.output.shape[0], args.context.threads, [&](int64_t n, int /*worker*/) {
      T* out = args.output.data + n * g_.positions() * g_.filters;
      const T* bias = nullptr;
      conv_forward_reference(g_, args.inputs[0].data + n * g_.image_size(), args.variables[0].data, bias,
                             out);
      finish(scale, shift, g_.positions(), out);
    });
  }

  /// Never called: there is no such operator in training.
  template <typename T>
  void reference_backward(const BackwardArgs<T>& /*args*/) const {}

 private:
  static ConvGeometry clipped(ConvGeometry geometry, Clip clip) {
    geometry.relu = clip != Clip::kNone;
    geometry.relu6 = clip == Clip::kRelu6;
    return geometry;
  }
  [[nodiscard]] size_t kernel_bytes() const {
    return align_up(static_cast<size_t>(g_.kernel_size()) * sizeof(float));
  }
  [[nodiscard]] size_t shift_bytes() const {
    return align_up(static_cast<size_t>(g_.filters) * sizeof(double));
  }

  /// Scale and shift of filter f, the convolution's bias among them.
  template <typename T>
  [[nodiscard]] ChannelAffine affine(std::span<const TensorView<const T>> variables, int64_t f) const {
    const BatchNormVariables<T> statistics(norm_, variables.subspan(use_bias_ ? 2 : 1));
    return statistics.moving_affine(f, norm_.epsilon, use_bias_ ? variables[1].data : nullptr);
  }

  /// The kernel of the same convolution without a normalization, rounded once, and its bias. `scale` is
  /// scratch.
  void fold(std::span<const TensorView<const float>> variables, double* scale, float* kernel,
            float* shift) const {
    for (int64_t f = 0; f < g_.filters; ++f) {
      const ChannelAffine map = affine(variables, f);
      scale[f] = map.scale;
      shift[f] = static_cast<float>(map.shift);
    }
    const float* from = variables[0].data;
    for (int64_t row = 0; row < g_.patch(); ++row, from += g_.filters, kernel += g_.filters) {
      for (int64_t f = 0; f < g_.filters; ++f) {
        kernel[f] = static_cast<float>(static_cast<double>(from[f]) * scale[f]);
      }
    }
  }

  template <typename T>
  void finish(const T* scale, const T* shift, int64_t positions, T* sums) const {
    for (int64_t p = 0; p < positions; ++p, sums += g_.filters) {
      for (int64_t f = 0; f < g_.filters; ++f) {
        // NaN compares false, and stays.
        T y = sums[f] * scale[f] + shift[f];
        if (clip_ != Clip::kNone && y < T{0}) y = T{0};
        sums[f] = clip_ == Clip::kRelu6 && y > T{6} ? T{6} : y;
      }
    }
  }

  ConvGeometry g_;
  BatchNormAttrs norm_;
  bool use_bias_;
  Clip clip_;
  ConvKernels fast_;
  size_t folded_offset_;  // packed: the shifts, after the kernel
  size_t kernel_offset_;  // in the shared workspace
};

template <Clip clip>
Result<std::unique_ptr<Operator>> create(const OperatorRequest& request) {
  NACRE_ASSIGN_OR_RETURN(const auto conv, parse_attributes<ConvAttrs>(*request.attributes[0]));
  NACRE_ASSIGN_OR_RETURN(const auto norm, parse_attributes<BatchNormAttrs>(*request.attributes[1]));
  NACRE_ASSIGN_OR_RETURN(const ConvGeometry geometry, make_conv_geometry(conv, request.inputs[0]));
  // Training needs the batch's statistics of the sums.
  if (request.mode != Mode::kInference || geometry.relu) return std::unique_ptr<Operator>();
  return std::unique_ptr<Operator>(
      std::make_unique<ConvBatchNorm>(conv, geometry, norm, clip, request.inputs[0][0]));
}

template <Clip clip>
OpDef define(const std::string& activation) {
  return fused_batch_norm_op(
      "Conv2D", activation,
      "[N, H, W, C] -> [N, H', W', F]: the sums of Conv2D, times gamma / sqrt(moving_variance + epsilon), "
      "plus what remains",
      create<clip>);
}

}  // namespace

OpDef conv_batch_norm_op() {
  return define<Clip::kNone>("");
}

OpDef conv_batch_norm_relu_op() {
  return define<Clip::kRelu>("ReLU");
}

OpDef conv_batch_norm_relu6_op() {
  return define<Clip::kRelu6>("ReLU6");
}

}  // namespace nacre
