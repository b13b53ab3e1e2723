#pragma once

#include <cstdint>

#include "engine/gemm.h"
#include "engine/op_def.h"
#include "engine/tensor.h"
#include "layers/conv.h"

namespace nacre {

/// Copies the patches under output rows [y_begin, y_end) of one image, of the channels from `image` on that
/// one group has: patches [(y_end - y_begin) * W', kh * kw * channels / groups] (im2col). Padding becomes
/// zeros.
void gather_patches(const ConvGeometry& g, const float* image, int64_t y_begin, int64_t y_end,
                    float* patches);

/// The adjoint: adds every element of the patches to the pixel that it came from (col2im).
void scatter_patches(const ConvGeometry& g, const float* patches, int64_t y_begin, int64_t y_end,
                     float* image);

/// The fast convolution, as products of matrices over stripes of output rows: patches times kernel. What
/// comes after the sums (nothing, or a pooling that is fused) is told by `rows`, the axis along which units
/// of output rows are cut: unit u takes rows [rows.start(u), + rows.window) and no row belongs to two units.
/// For a plain convolution a unit is one row, for a fused pooling the rows of one pooled row.
///
/// Stripes depend on the geometry only, chunks of images on the batch only, and partial sums are added in the
/// order of the chunks: so any number of threads gives the same bits.
class ConvKernels {
 public:
  ConvKernels(const ConvGeometry& geometry, const WindowAxis& rows, int64_t batch, Mode mode);

  /// Workspace sizes, for OperatorInfo.
  [[nodiscard]] size_t shared_bytes() const { return shared_bytes_; }
  [[nodiscard]] size_t per_thread_bytes() const { return per_thread_bytes_; }

  /// Computes every stripe: with `direct` in args.output, otherwise in scratch. Then finish(n, unit_begin,
  /// unit_end, y_begin, sums) takes over: sums [rows, W', filters] start at row y_begin, activation applied.
  template <typename Finish>
  void forward(const ForwardArgs<float>& args, bool direct, const Finish& finish) const;

  /// grad_rows(n, unit_begin, unit_end, y_begin, y_end, scratch) returns the gradient [y_end - y_begin, W',
  /// filters] with respect to the sums before the activation, if need be written to `scratch`.
  template <typename GradRows>
  void backward(const BackwardArgs<float>& args, const GradRows& grad_rows) const;

 private:
  [[nodiscard]] int64_t stripes() const { return chunks_of(rows_.out, units_per_stripe_); }
  [[nodiscard]] int64_t first_row(int64_t unit) const { return rows_.start(unit) + rows_.first_cell(unit); }
  [[nodiscard]] int64_t end_row(int64_t unit) const { return rows_.start(unit) + rows_.end_cell(unit); }
  [[nodiscard]] int64_t image_chunks(int64_t n) const;
  [[nodiscard]] int64_t partial_floats() const;

  /// Sets `a` and `lda` of a product to the patches of some rows: the image itself, or a copy in `scratch`.
  void take_patches(const float* image, int64_t y_begin, int64_t y_end, float* scratch,
                    GemmArgs& product) const;
  void sums(const float* image, int64_t y_begin, int64_t y_end, const float* packed_kernel, const float* bias,
            std::byte* scratch, float* out) const;
  void pack_for_backward(const BackwardArgs<float>& args) const;
  void add_gradients(const BackwardArgs<float>& args, int64_t n, bool first, int64_t y_begin, int64_t y_end,
                     const float* grad, float* partial, std::byte* scratch) const;
  void add_kernel_gradient(const float* image, int64_t group, bool first, int64_t y_begin, int64_t y_end,
                           const float* grad, float* partial, std::byte* scratch) const;
  void add_input_gradient(const float* packed_kernel, int64_t group, int64_t y_begin, int64_t y_end,
                          const float* grad, float* grad_image, std::byte* scratch) const;
  void combine(const BackwardArgs<float>& args) const;

  ConvGeometry g_;
  WindowAxis rows_;
  int64_t units_per_stripe_ = 1;
  int64_t packed_forward_ = 0;   // floats of one group's packed kernel
  int64_t packed_backward_ = 0;  // of its transpose
  size_t shared_bytes_ = 0;
  size_t per_thread_bytes_ = 0;
  // Offsets in the workspaces.
  size_t partials_offset_ = 0;  // shared: after the packed kernel
  size_t sums_offset_ = 0;      // per thread: after the patches
  size_t gemm_offset_ = 0;      // per thread
};

template <typename Finish>
void ConvKernels::forward(const ForwardArgs<float>& args, bool direct, const Finish& finish) const {
  auto* packed = args.workspace.shared_as<float>();
  for (int64_t group = 0; group < g_.groups; ++group) {
    pack_b(g_.patch(), g_.group_filters(), args.variables[0].data + group * g_.group_filters(), g_.filters,
           false, packed + group * packed_forward_);
  }
  const float* bias = args.variables.size() > 1 ? args.variables[1].data : nullptr;
  const int64_t per_image = stripes();
  parallel_for(args.output.shape[0] * per_image, args.context.threads, [&](int64_t chunk, int worker) {
    const int64_t n = chunk / per_image;
    const int64_t begin = chunk % per_image * units_per_stripe_;
    const int64_t end = std::min(rows_.out, begin + units_per_stripe_);
    const int64_t y_begin = first_row(begin);
    const float* image = args.inputs[0].data + n * g_.image_size();
    auto* scratch = args.workspace.of_thread<std::byte>(worker);
    float* out = direct ? args.output.data + (n * g_.window.y.out + y_begin) * g_.window.x.out * g_.filters
                        : reinterpret_cast<float*>(scratch + sums_offset_);
    sums(image, y_begin, end_row(end - 1), packed, bias, scratch, out);
    finish(n, begin, end, y_begin, out);
  });
}

template <typename GradRows>
void ConvKernels::backward(const BackwardArgs<float>& args, const GradRows& grad_rows) const {
  pack_for_backward(args);
  const int64_t batch = args.output.shape[0];
  const int64_t chunks = image_chunks(batch);
  parallel_for(chunks, args.context.threads, [&](int64_t chunk, int worker) {
    float* partial =
        reinterpret_cast<float*>(args.workspace.shared + partials_offset_) + chunk * partial_floats();
    auto* scratch = args.workspace.of_thread<std::byte>(worker);
    const int64_t first_image = chunk * batch / chunks;
    const int64_t end_image = (chunk + 1) * batch / chunks;
    for (int64_t n = first_image; n < end_image; ++n) {
      for (int64_t begin = 0; begin < rows_.out; begin += units_per_stripe_) {
        const int64_t end = std::min(rows_.out, begin + units_per_stripe_);
        const int64_t y_begin = first_row(begin);
        const int64_t y_end = end_row(end - 1);
        const float* grad =
            grad_rows(n, begin, end, y_begin, y_end, reinterpret_cast<float*>(scratch + sums_offset_));
        add_gradients(args, n, n == first_image && begin == 0, y_begin, y_end, grad, partial, scratch);
      }
    }
  });
  combine(args);
}

}  // namespace nacre
