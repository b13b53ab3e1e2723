#include "layers/conv_reference.h"

#include "engine/parallel.h"
#include "layers/eigen_maps.h"

namespace nacre {
namespace {

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

}  // namespace

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

template void conv_forward_reference(const ConvGeometry&, const float*, const float*, const float*, float*);
template void conv_forward_reference(const ConvGeometry&, const double*, const double*, const double*,
                                     double*);
template void conv_weight_gradient_reference(const ConvGeometry&, const float*, const float*, int, float*,
                                             float*);
template void conv_weight_gradient_reference(const ConvGeometry&, const double*, const double*, int, double*,
                                             double*);
template void conv_input_gradient_reference(const ConvGeometry&, const float*, const float*, float*);
template void conv_input_gradient_reference(const ConvGeometry&, const double*, const double*, double*);

}  // namespace nacre
