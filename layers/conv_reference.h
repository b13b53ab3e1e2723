#pragma once

#include <algorithm>

#include "layers/conv.h"

namespace nacre {

/// The readable convolution, one image at a time, for T = float and double. At each cell (ky, kx) of the
/// kernel, a row of one group's outputs is a product of matrices: inputs [count, channels / groups] (a stride
/// apart) times kernel[ky, kx] [channels / groups, filters / groups].

/// out [H', W', filters] = activation(image * kernel + bias); bias may be null.
template <typename T>
void conv_forward_reference(const ConvGeometry& g, const T* image, const T* kernel, const T* bias, T* out);

/// Adds one image's part of the gradient with respect to kernel and bias (null: not wanted), given `grad`
/// [H', W', filters] with respect to the sums before the activation.
template <typename T>
void conv_weight_gradient_reference(const ConvGeometry& g, const T* image, const T* grad, int threads,
                                    T* grad_kernel, T* grad_bias);

/// grad_image [H, W, channels] = the gradient with respect to the image.
template <typename T>
void conv_input_gradient_reference(const ConvGeometry& g, const T* grad, const T* kernel, T* grad_image);

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
