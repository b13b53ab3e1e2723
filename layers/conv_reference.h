#pragma once

#include "engine/parallel.h"
#include "layers/conv.h"
#include "layers/eigen_maps.h"

namespace nacre {

/// The readable convolution, one image at a time. At each cell (ky, kx) of the kernel, a row of outputs is a
/// product of matrices: inputs [count, channels] (a stride apart) times kernel[ky, kx] [channels, filters].

/// body(offset of the first input in the image, offset of the first output in [H', W'], count) for every row
/// of outputs that has inputs at the kernel's cell (ky, kx).
template <typename Body>
void for_rows_at_cell(const ConvGeometry& g, int64_t ky, int64_t kx, const Body& body) {
  const int64_t begin = g.window.x.first_out(kx);
  const int64_t count = g.window.x.end_out(kx) - begin;
  if (count <= 0) return;
  for (int64_t oy = g.window.y.first_out(ky); oy < g.window.y.end_out(ky); ++oy) {
    const int64_t input = (g.window.y.start(oy) + ky) * g.window.x.in + g.window.x.start(begin) + kx;
    body(input * g.channels, oy * g.window.x.out + begin, count);
  }
}

/// out [H', W', filters] = activation(image * kernel + bias); bias may be null.
template <typename T>
void conv_forward_reference(const ConvGeometry& g, const T* image, const T* kernel, const T* bias, T* out) {
  const Eigen::OuterStride<> step(g.window.x.stride * g.channels);
  MatrixMap<T> sums(out, g.positions(), g.filters);
  sums.setZero();
  for (int64_t cell = 0; cell < g.window.cells(); ++cell) {
    const ConstMatrixMap<T> weights(kernel + cell * g.channels * g.filters, g.channels, g.filters);
    for_rows_at_cell(g, cell / g.window.x.window, cell % g.window.x.window,
                     [&](int64_t input, int64_t output, int64_t count) {
                       const ConstStridedMap<T> x(image + input, count, g.channels, step);
                       MatrixMap<T>(out + output * g.filters, count, g.filters).noalias() += x * weights;
                     });
  }
  if (bias != nullptr) sums.rowwise() += ConstRowMap<T>(bias, g.filters);
  if (g.relu) sums = (sums.array() < T{0}).select(T{0}, sums);
}

/// Adds one image's part of the gradient with respect to kernel and bias (null: not wanted), given `grad`
/// [H', W', filters] with respect to the sums before the activation.
template <typename T>
void conv_weight_gradient_reference(const ConvGeometry& g, const T* image, const T* grad, int threads,
                                    T* grad_kernel, T* grad_bias) {
  const Eigen::OuterStride<> step(g.window.x.stride * g.channels);
  if (grad_kernel != nullptr) {
    parallel_for(g.window.cells(), threads, [&](int64_t cell, int /*worker*/) {
      MatrixMap<T> sum(grad_kernel + cell * g.channels * g.filters, g.channels, g.filters);
      for_rows_at_cell(g, cell / g.window.x.window, cell % g.window.x.window,
                       [&](int64_t input, int64_t output, int64_t count) {
                         const ConstStridedMap<T> x(image + input, count, g.channels, step);
                         const ConstMatrixMap<T> dy(grad + output * g.filters, count, g.filters);
                         sum.noalias() += x.transpose() * dy;
                       });
    });
  }
  if (grad_bias == nullptr) return;
  for (int64_t position = 0; position < g.positions(); ++position) {
    RowMap<T>(grad_bias, g.filters) += ConstRowMap<T>(grad + position * g.filters, g.filters);
  }
}

/// grad_image [H, W, channels] = the gradient with respect to the image.
template <typename T>
void conv_input_gradient_reference(const ConvGeometry& g, const T* grad, const T* kernel, T* grad_image) {
  const Eigen::OuterStride<> step(g.window.x.stride * g.channels);
  std::fill(grad_image, grad_image + g.image_size(), T{0});
  for (int64_t cell = 0; cell < g.window.cells(); ++cell) {
    const ConstMatrixMap<T> weights(kernel + cell * g.channels * g.filters, g.channels, g.filters);
    for_rows_at_cell(g, cell / g.window.x.window, cell % g.window.x.window,
                     [&](int64_t input, int64_t output, int64_t count) {
                       const ConstMatrixMap<T> dy(grad + output * g.filters, count, g.filters);
                       StridedMap<T>(grad_image + input, count, g.channels, step).noalias() +=
                           dy * weights.transpose();
                     });
  }
}

/// Backward of a batch. `grad_of_sums(n, scratch)` returns image n's gradient [H', W', filters] with respect
/// to the sums before the activation, if need be written to `scratch`, which has room for it.
template <typename T, typename GradOfSums>
void conv_backward_reference(const ConvGeometry& g, const BackwardArgs<T>& args,
                             const GradOfSums& grad_of_sums) {
  T* grad_kernel = args.grad_variables[0].data;
  T* grad_bias = args.grad_variables.size() > 1 ? args.grad_variables[1].data : nullptr;
  if (grad_kernel != nullptr) std::fill(grad_kernel, grad_kernel + g.kernel_size(), T{0});
  if (grad_bias != nullptr) std::fill(grad_bias, grad_bias + g.filters, T{0});
  T* grad_images = args.grad_inputs[0].data;
  for (int64_t n = 0; n < args.output.shape[0]; ++n) {
    const T* grad = grad_of_sums(n, args.workspace.template of_thread<T>(0));
    conv_weight_gradient_reference(g, args.inputs[0].data + n * g.image_size(), grad, args.context.threads,
                                   grad_kernel, grad_bias);
    if (grad_images != nullptr) {
      conv_input_gradient_reference(g, grad, args.variables[0].data, grad_images + n * g.image_size());
    }
  }
}

}  // namespace nacre
