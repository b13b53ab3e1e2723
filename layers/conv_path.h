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

/// The choice for a shape whose output rows are worked on in units `rows` (see ConvKernels). It depends on
/// geometry and mode alone, never on the batch or a measurement: so a row has the same bits wherever it is
/// computed in that mode.
ForwardPath choose_forward_path(const ConvGeometry& geometry, const WindowAxis& rows, Mode mode);

/// Winograd's algorithm for forward. In training one that rounds little, at most about three times as much as
/// the direct path: every sum that falls on the other side of a relu's edge, or another winner of a pooling,
/// moves a gradient by thousandths.
winograd::Algorithm winograd_algorithm(const ConvGeometry& geometry, Mode mode);

/// The same for the gradient of the input, where rounding decides nothing.
winograd::Algorithm winograd_gradient_algorithm(const ConvGeometry& geometry);

/// Whether the gradient of the input is computed by the adjoint of Winograd's algorithm.
bool choose_winograd_gradient(const ConvGeometry& geometry, const WindowAxis& rows);

/// Whether the gradient of a kernel behind `pool` is summed over live cells (sparse_gradient.h) rather than
/// as a product of matrices over all positions.
bool choose_sparse_gradient(const ConvGeometry& geometry, const Window2& pool);
/// Whether, if so, it is summed over quads of inputs instead (quad_gradient.h).
bool choose_quad_gradient(const ConvGeometry& geometry, const FusedPool& pool);

/// Units that make whole rows of Winograd's tiles.
int64_t units_of_tiles(const WindowAxis& rows, const winograd::Algorithm& algorithm);

}  // namespace nacre
