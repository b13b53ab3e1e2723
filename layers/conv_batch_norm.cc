#include <algorithm>
#include <limits>
#include <memory>

#include "layers/batch_norm.h"
#include "layers/conv_kernels.h"
#include "layers/conv_reference.h"
#include "layers/depthwise_kernels.h"

namespace nacre {
namespace {

/// Conv2D, the BatchNorm behind it and perhaps a clipping activation, in inference: every channel of the sums
/// is scaled, shifted and clipped while its stripe is still in the cache.
class ConvBatchNorm final : public ReferenceOperator<ConvBatchNorm> {
 public:
  ConvBatchNorm(const ConvAttrs& conv, const ConvGeometry& geometry, const BatchNormAttrs& norm, Clip clip,
                int64_t batch)
      : g_(geometry),
        norm_(norm),
        use_bias_(conv.use_bias),
        least_(clip == Clip::kNone ? -std::numeric_limits<float>::infinity() : 0.0F),
        most_(clip == Clip::kRelu6 ? 6.0F : std::numeric_limits<float>::infinity()),
        fast_(geometry, geometry.rows(), batch, Mode::kInference),
        affine_offset_(align_up(fast_.shared_bytes())) {
    info_.output = Shape{batch, g_.window.y.out, g_.window.x.out, g_.filters};
    info_.variables = conv_variables(conv, g_);
    std::ranges::move(batch_norm_variables(norm, g_.filters, 1), std::back_inserter(info_.variables));
    info_.flops_per_row = conv_flops(g_) + 2 * info_.output.elements_per_row();
    info_.shared_bytes = affine_offset_ + static_cast<size_t>(2 * g_.filters) * sizeof(double);
    info_.per_thread_bytes = fast_.per_thread_bytes();
  }

  void forward(const ForwardArgs<float>& args) const override {
    prepare(args);
    ForwardArgs<float> sums = args;
    sums.variables = args.variables.first(1);
    const int64_t row = g_.window.x.out;
    fast_.forward(sums, true, [&](int64_t /*n*/, int64_t begin, int64_t end, int64_t /*y*/, float* out) {
      finish(args, (end - begin) * row, out);
    });
  }

  template <typename T>
  void reference_forward(const ForwardArgs<T>& args) const {
    prepare(args);
    parallel_for(args.output.shape[0], args.context.threads, [&](int64_t n, int /*worker*/) {
      T* out = args.output.data + n * g_.positions() * g_.filters;
      const T* bias = nullptr;
      conv_forward_reference(g_, args.inputs[0].data + n * g_.image_size(), args.variables[0].data, bias,
                             out);
      finish(args, g_.positions(), out);
    });
  }

  /// Never called: there is no such operator in training.
  template <typename T>
  void reference_backward(const BackwardArgs<T>& /*args*/) const {}

 private:
  template <typename T>
  [[nodiscard]] T* scales(const ForwardArgs<T>& args) const {
    return reinterpret_cast<T*>(args.workspace.shared + affine_offset_);
  }

  /// Scale and shift of every channel, the convolution's bias among them.
  template <typename T>
  void prepare(const ForwardArgs<T>& args) const {
    const BatchNormVariables<T> variables(norm_, args.variables.subspan(use_bias_ ? 2 : 1));
    const T* bias = use_bias_ ? args.variables[1].data : nullptr;
    T* scale = scales(args);
    T* shift = scale + g_.filters;
    for (int64_t f = 0; f < g_.filters; ++f) {
      const ChannelAffine affine = variables.moving_affine(f, norm_.epsilon, bias);
      scale[f] = static_cast<T>(affine.scale);
      shift[f] = static_cast<T>(affine.shift);
    }
  }

  template <typename T>
  void finish(const ForwardArgs<T>& args, int64_t positions, T* sums) const {
    const T* scale = scales(args);
    const T* shift = scale + g_.filters;
    const auto least = static_cast<T>(least_);
    const auto most = static_cast<T>(most_);
    for (int64_t p = 0; p < positions; ++p, sums += g_.filters) {
      for (int64_t f = 0; f < g_.filters; ++f) {
        // NaN compares false, and stays.
        const T y = sums[f] * scale[f] + shift[f];
        const T above = y < least ? least : y;
        sums[f] = above > most ? most : above;
      }
    }
  }

  ConvGeometry g_;
  BatchNormAttrs norm_;
  bool use_bias_;
  float least_;
  float most_;
  ConvKernels fast_;
  size_t affine_offset_;  // in the shared workspace
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
