#pragma once

#include <algorithm>
#include <array>
#include <span>
#include <vector>

#include "layers/batch_norm.h"
#include "layers/conv_kernels.h"
#include "layers/conv_reference.h"
#include "layers/depthwise_kernels.h"

namespace nacre {

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
    const float* bias = args.packed == nullptr ? shift : packed_bias(args.packed);
    const std::array folded{TensorView<const float>{kernel, args.variables[0].shape},
                            TensorView<const float>{bias, Shape{g_.filters}}};
    ForwardArgs<float> sums = args;
    sums.variables = folded;
    fast_.forward(sums);
  }

  void pack(std::span<const TensorView<const float>> variables, int threads,
            std::byte* packed) const override {
    std::vector<std::byte> scratch(pack_scratch_bytes());
    pack(variables, threads, scratch.data(), packed);
  }

  /// The same without allocation; `scratch` is of pack_scratch_bytes, 8-byte aligned.
  void pack(std::span<const TensorView<const float>> variables, int threads, std::byte* scratch,
            std::byte* packed) const {
    auto* kernel = reinterpret_cast<float*>(scratch);
    auto* scale = reinterpret_cast<double*>(scratch + kernel_bytes());
    fold(variables, scale, kernel, reinterpret_cast<float*>(packed + folded_offset_));
    fast_.pack(kernel, threads, reinterpret_cast<float*>(packed));
  }
  [[nodiscard]] size_t pack_scratch_bytes() const { return kernel_bytes() + shift_bytes(); }

  /// Of what pack wrote: the kernel and the bias.
  [[nodiscard]] static const float* packed_kernel(const std::byte* packed) {
    return reinterpret_cast<const float*>(packed);
  }
  [[nodiscard]] const float* packed_bias(const std::byte* packed) const {
    return reinterpret_cast<const float*>(packed + folded_offset_);
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

}  // namespace nacre
