#include "layers/conv_reference.h"

#include <type_traits>

#include "engine/parallel.h"
#include "layers/eigen_maps.h"

namespace nacre {
namespace {

/// body(offset of the first input in the image, offset of the first output in [H', W'], count) for every row
/// of outputs that has inputs at the kernel's cell `cell`.
template <typename Body>
void for_rows_at_cell(const ConvGeometry& g, int64_t cell, const Body& body) {
  const WindowAxis& y = g.window.y;
  const WindowAxis& x = g.window.x;
  const int64_t ky = cell / x.window;
  const int64_t kx = cell % x.window;
  const int64_t begin = x.first_out(kx);
  const int64_t count = x.end_out(kx) - begin;
  if (count <= 0) return;
  for (int64_t oy = y.first_out(ky); oy < y.end_out(ky); ++oy) {
    const int64_t input = (y.start(oy) + ky * y.dilation) * x.in + x.start(begin) + kx * x.dilation;
    body(input * g.channels, oy * x.out + begin, count);
  }
}

/// The matrices of one group, as views of an image, of outputs and of a kernel.
struct Group {
  const ConvGeometry& g;
  int64_t index;

  template <typename T>
  [[nodiscard]] auto inputs(T* image, int64_t offset, int64_t count) const {
    using Map =
        std::conditional_t<std::is_const_v<T>, ConstStridedMap<std::remove_const_t<T>>, StridedMap<T>>;
    return Map(image + offset + index * g.group_channels(), count, g.group_channels(),
               Eigen::OuterStride<>(g.window.x.stride * g.channels));
  }
  template <typename T>
  [[nodiscard]] auto outputs(T* out, int64_t offset, int64_t count) const {
    return filters(out + offset * g.filters, count);
  }
  template <typename T>
  [[nodiscard]] auto weights(T* kernel, int64_t cell) const {
    return filters(kernel + cell * g.group_channels() * g.filters, g.group_channels());
  }

 private:
  template <typename T>
  [[nodiscard]] auto filters(T* rows, int64_t count) const {
    using Map =
        std::conditional_t<std::is_const_v<T>, ConstStridedMap<std::remove_const_t<T>>, StridedMap<T>>;
    return Map(rows + index * g.group_filters(), count, g.group_filters(), Eigen::OuterStride<>(g.filters));
  }
};

}  // namespace

template <typename T>
void conv_forward_reference(const ConvGeometry& g, const T* image, const T* kernel, const T* bias, T* out) {
  MatrixMap<T> sums(out, g.positions(), g.filters);
  sums.setZero();
  for (int64_t i = 0; i < g.groups * g.window.cells(); ++i) {
    const Group group{g, i / g.window.cells()};
    const int64_t cell = i % g.window.cells();
    for_rows_at_cell(g, cell, [&](int64_t input, int64_t output, int64_t count) {
      group.outputs(out, output, count).noalias() +=
          group.inputs(image, input, count) * group.weights(kernel, cell);
    });
  }
  if (bias != nullptr) sums.rowwise() += ConstRowMap<T>(bias, g.filters);
  if (g.relu) sums = (sums.array() < T{0}).select(T{0}, sums);
}

template <typename T>
void conv_weight_gradient_reference(const ConvGeometry& g, const T* image, const T* grad, int threads,
                                    T* grad_kernel, T* grad_bias) {
  if (grad_kernel != nullptr) {
    parallel_for(g.groups * g.window.cells(), threads, [&](int64_t i, int /*worker*/) {
      const Group group{g, i / g.window.cells()};
      const int64_t cell = i % g.window.cells();
      for_rows_at_cell(g, cell, [&](int64_t input, int64_t output, int64_t count) {
        group.weights(grad_kernel, cell).noalias() +=
            group.inputs(image, input, count).transpose() * group.outputs(grad, output, count);
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
  std::fill(grad_image, grad_image + g.image_size(), T{0});
  for (int64_t i = 0; i < g.groups * g.window.cells(); ++i) {
    const Group group{g, i / g.window.cells()};
    const int64_t cell = i % g.window.cells();
    for_rows_at_cell(g, cell, [&](int64_t input, int64_t output, int64_t count) {
      group.inputs(grad_image, input, count).noalias() +=
          group.outputs(grad, output, count) * group.weights(kernel, cell).transpose();
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
