#pragma once

#include <cstdint>

#include "layers/conv.h"
#include "layers/pool_kernels.h"
#include "layers/winograd_kernels.h"

namespace nacre {

/// How the sums of a convolution are computed.
enum class ForwardPath : uint8_t {
  kGemm,      ///< patches (im2col, or the image itself for 1x1) times kernel, conv_kernels.cc
  kDirect,    ///< a tile of outputs in registers over rows of the image, direct_conv.h
  kWinograd,  ///< winograd_conv.h
};

/// How the gradient of a kernel is computed.
enum class KernelGradientPath : uint8_t {
  kGemm,      ///< copied patches (im2col) times gradients, for groups and dilation along a row
  kDirect,    ///< outer products of gradients and patches as they lie in the image, outer_products.h
  kWinograd,  ///< the adjoint of Winograd's algorithm, winograd_conv.h
  kSparse,    ///< a sum over what survived a max pooling, sparse_gradient.h
};

/// The choice for a shape whose output rows are worked on in units `rows` (see ConvKernels). It depends on
/// geometry and mode alone, never on the batch or a measurement: so a row has the same bits wherever it is
/// computed in that mode.
ForwardPath choose_forward_path(const ConvGeometry& geometry, const WindowAxis& rows, Mode mode);

/// Winograd's algorithm for forward:
///
///   kernel, channels | training     | inference
///   3x3, up to 32    | F(4x4, 3x3)  | F(6x6, 3x3) where it costs clearly less, or F(4x4, 3x3)
///   3x3, more        | F(2x2, 3x3)  | F(2x2, 3x3)
///   5x5, up to 47    | F(6x6, 5x5)  | F(4x4, 5x5)
///   5x5, up to 64    | F(6x6, 5x5), or F(4x4, 5x5) where it costs less | F(4x4, 5x5)
///   5x5, more        | none         | none
///
/// F(6x6, 5x5) costs less for many images; of few, its larger kernel takes longer to read than it saves.
///
/// In training one that rounds at most about three times as much as the direct path: every sum that falls on
/// the other side of a relu's edge, or another winner of a pooling, moves a gradient by thousandths. Of many
/// channels one that rounds less than the direct path: such networks are deep, and roundings add up.
winograd::Algorithm winograd_algorithm(const ConvGeometry& geometry, const WindowAxis& rows, Mode mode);

/// The same for the gradients of input and kernel, where rounding decides nothing: F(4x4, 3x3), F(4x4, 5x5)
/// or F(6x6, 5x5).
winograd::Algorithm winograd_gradient_algorithm(const ConvGeometry& geometry);

/// Whether the gradient of the input is computed by the adjoint of Winograd's algorithm.
bool choose_winograd_gradient(const ConvGeometry& geometry, const WindowAxis& rows);

/// Whether it is computed phase by phase (phase_gradient.h); `pool` is what lies behind the convolution, or
/// null.
bool choose_phase_gradient(const ConvGeometry& geometry, const FusedPool* pool);

/// The choice for the gradient of a kernel; `pool` is what lies behind the convolution, or null.
KernelGradientPath choose_kernel_gradient(const ConvGeometry& geometry, const WindowAxis& rows,
                                          const FusedPool* pool);

/// Whether a sparse one is summed over quads of inputs (quad_gradient.h) rather than over lists of live
/// cells.
bool choose_quad_gradient(const ConvGeometry& geometry, const WindowAxis& rows, const FusedPool& pool);
/// Whether, beside a sparse one, the gradient of the input is summed over live cells too (sparse_input.h).
bool choose_sparse_input_gradient(const ConvGeometry& geometry, const WindowAxis& rows,
                                  const FusedPool& pool);

/// Units that make whole rows of Winograd's tiles.
int64_t units_of_tiles(const WindowAxis& rows, const winograd::Algorithm& algorithm);

}  // namespace nacre
