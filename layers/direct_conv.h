#pragma once

#include <cstdint>

#include "layers/padded_rows.h"
#include "layers/pool_kernels.h"

namespace nacre {

/// Sums of `rows` output rows, straight from padded rows of the image: no patches are copied. A tile of
/// positions by filters stays in registers while the window's cells go by. For one group and no dilation
/// along a row.
///
/// `packed` is the kernel by pack_b (k = patch, n = filters), out [rows, W', filters], `bias` may be null.
/// Every sum is one chain of multiply-adds over the patch in ascending order, then the bias, then relu:
/// its bits depend on nothing else.
void direct_conv_rows(const ConvGeometry& g, const PaddedRows& input, int64_t rows, const float* packed,
                      const float* bias, float* out);

/// The same pooled by FusedPool::of_pairs, in registers: `rows` rows of `width` cells, to `out`.
void direct_conv_pooled_rows(const ConvGeometry& g, const PaddedRows& input, int64_t rows, int64_t width,
                             const float* packed, const float* bias, const PooledCells& out);

}  // namespace nacre
