#pragma once

#include <cstdint>

#include "layers/window.h"

namespace nacre {

/// Pooling that stands alone: images [H, W, channels] to [H', W', channels], windows of any size and step, a
/// vector of channels at a time. The functions are dispatched at run time as in engine/gemm.h; an element's
/// bits depend on its own window only. A pooling fused behind a convolution is layers/pool_kernels.h's.

/// Output row `oy` [W', channels] of one image: the largest of each window; NaN wins.
void max_pool_row(const ChannelWindow& pool, int64_t oy, const float* image, float* out);

/// grad_image = the gradient with respect to the image; `grad` [H', W', channels] goes to the first cell of
/// each window that equals `largest`, what max_pool_row gave. Windows that overlap add up in their order.
void max_pool_gradient(const ChannelWindow& pool, const float* image, const float* largest, const float* grad,
                       float* grad_image);

/// Output row `oy` of one image: the mean of each window's cells inside the image.
void avg_pool_row(const ChannelWindow& pool, int64_t oy, const float* image, float* out);

/// grad_image = the gradient with respect to the image.
void avg_pool_gradient(const ChannelWindow& pool, const float* grad, float* grad_image);

}  // namespace nacre
