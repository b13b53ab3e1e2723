#pragma once

#include <cstdint>
#include <span>

#include "engine/tensor.h"

namespace nacre {

/// What a batch scored.
struct LossResult {
  double loss = 0;      ///< mean cross-entropy over the rows, natural logarithm
  int64_t correct = 0;  ///< rows whose largest logit is the label's (the first of equals counts)
};

/// Softmax cross-entropy of logits [N, classes] against labels [N] in [0, classes):
///   loss = mean over rows of log(sum_j exp(z_j)) - z_label,   d loss / d z_j = (softmax(z)_j - [j == label])
///   / N.
/// Computed from z - max(z), in double, rows summed in order. Writes the gradient to `grad` [N, classes]
/// unless its data is null. A row with a NaN makes the loss NaN.
LossResult softmax_cross_entropy(TensorView<const float> logits, std::span<const int32_t> labels,
                                 TensorView<float> grad);

}  // namespace nacre
