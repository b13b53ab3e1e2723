#pragma once

#include <algorithm>
#include <span>

#include "layers/batch_norm.h"
#include "layers/depthwise_conv.h"

namespace nacre {

/// DepthwiseConv2D, the BatchNorm behind it and perhaps a clipping activation, in inference: scale and shift
/// go into kernel and bias.
class DepthwiseBatchNorm final : public ReferenceOperator<DepthwiseBatchNorm> {
 public:
  DepthwiseBatchNorm(const DepthwiseAttrs& attrs, const DepthwiseConv& conv, const BatchNormAttrs& norm,
                     int64_t batch)
      : conv_(conv), norm_(norm), use_bias_(attrs.use_bias) {
    const int64_t channels = conv.g.channels;
    info_.output = conv.output(batch);
    info_.variables = depthwise_variables(attrs, conv);
    std::ranges::move(batch_norm_variables(norm, channels, 1), std::back_inserter(info_.variables));
    info_.flops_per_row = depthwise_flops(conv);
    info_.packed_bytes = folded_floats() * sizeof(float);
    info_.shared_bytes = folded_floats() * sizeof(double);
    info_.per_thread_bytes = conv.scratch_bytes();
  }

  void pack(std::span<const TensorView<const float>> variables, int /*threads*/,
            std::byte* packed) const override {
    fold(variables, reinterpret_cast<float*>(packed));
  }

  void forward(const ForwardArgs<float>& args) const override {
    const auto* kernel = reinterpret_cast<const float*>(args.packed);
    if (kernel == nullptr) {
      fold(args.variables, args.workspace.shared_as<float>());
      kernel = args.workspace.shared_as<float>();
    }
    depthwise_forward(conv_, args, kernel, kernel + conv_.g.kernel_size());
  }

  /// Output row `oy` of one image, with what pack wrote; for a depth_multiplier of 1.
  void row(const float* image, int64_t oy, const std::byte* packed, float* out, RowMemory memory) const {
    const auto* kernel = reinterpret_cast<const float*>(packed);
    depthwise_row(conv_.g, oy, image, kernel, kernel + conv_.g.kernel_size(), conv_.clip, out, memory);
  }

  template <typename T>
  void reference_forward(const ForwardArgs<T>& args) const {
    T* kernel = args.workspace.template shared_as<T>();
    fold(args.variables, kernel);
    parallel_for(args.output.shape[0], args.context.threads, [&](int64_t n, int /*worker*/) {
      depthwise_forward_reference(conv_, args.inputs[0].data + n * conv_.input_size(), kernel,
                                  kernel + conv_.g.kernel_size(),
                                  args.output.data + n * conv_.g.output_size());
    });
  }

  /// Never called: there is no such operator in training.
  template <typename T>
  void reference_backward(const BackwardArgs<T>& /*args*/) const {}

 private:
  [[nodiscard]] size_t folded_floats() const {
    return static_cast<size_t>(conv_.g.kernel_size() + conv_.g.channels);
  }

  /// Kernel and then bias with scale and shift in them.
  template <typename T>
  void fold(std::span<const TensorView<const T>> from, T* kernel) const {
    const BatchNormVariables<T> variables(norm_, from.subspan(use_bias_ ? 2 : 1));
    const T* own_bias = use_bias_ ? from[1].data : nullptr;
    T* bias = kernel + conv_.g.kernel_size();
    for (int64_t c = 0; c < conv_.g.channels; ++c) {
      const ChannelAffine affine = variables.moving_affine(c, norm_.epsilon, own_bias);
      bias[c] = static_cast<T>(affine.shift);
      for (int64_t i = c; i < conv_.g.kernel_size(); i += conv_.g.channels) {
        kernel[i] = static_cast<T>(static_cast<double>(from[0].data[i]) * affine.scale);
      }
    }
  }

  DepthwiseConv conv_;
  BatchNormAttrs norm_;
  bool use_bias_;
};

}  // namespace nacre
