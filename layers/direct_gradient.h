#pragma once

#include <cstdint>

#include "layers/conv.h"
#include "layers/padded_rows.h"

namespace nacre {

/// Adds to the gradient of the kernel [kh, kw, channels, filters] (with `first`: writes) the part of `count`
/// rows of outputs, given `grad` [count, W', filters] with respect to the sums and the rows of the image
/// under them. Patches are never copied: a few cells of the kernel for a few filters are summed in registers
/// while all positions go by. Takes one group and no dilation along a row. Dispatched at run time as in
/// engine/gemm.h; an element is summed position by position.
void direct_kernel_gradient(const ConvGeometry& g, const PaddedRows& rows, int64_t count, const float* grad,
                            bool first, float* grad_kernel);

}  // namespace nacre
