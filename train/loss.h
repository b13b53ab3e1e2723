#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/tensor.h"

namespace nacre {

/// How training departs from plain cross-entropy.
struct LossOptions {
  /// s in [0, 1]: the target of a row is 1 - s for its label, with s spread evenly over all classes (Szegedy
  /// et al.: "Rethinking the Inception architecture for computer vision", 2016; Keras's label_smoothing).
  double label_smoothing = 0;
  /// A factor for the rows of each class; empty: 1.
  std::vector<double> class_weights;
};

/// Weights that let every class count the same: images / (classes * images of the class), scikit-learn's
/// "balanced". Their mean over all images is 1. Classes without images get 0, and do not count as classes.
std::vector<double> balanced_class_weights(std::span<const int64_t> images_of_class);

/// What a batch scored.
struct LossResult {
  double loss = 0;      ///< mean over the rows, natural logarithm
  int64_t correct = 0;  ///< rows whose largest logit is the label's (the first of equals counts)
};

/// Softmax cross-entropy of logits [N, classes] against labels [N] in [0, classes):
///   loss = sum over rows of w_label * (log(sum_j exp(z_j)) - sum_j y_j z_j) / N,
///   d loss / d z_j = w_label * (softmax(z)_j - y_j) / N,
/// with y = [j == label] (1 - s) + s / classes and the weights w of `options`. As in Keras the weighted sum
/// is divided by the number of rows, not by the sum of their weights. Computed from z - max(z), in double,
/// rows summed in order. Writes the gradient to `grad` [N, classes] unless its data is null. A row with a NaN
/// makes the loss NaN.
LossResult softmax_cross_entropy(TensorView<const float> logits, std::span<const int32_t> labels,
                                 TensorView<float> grad, const LossOptions& options = {});

}  // namespace nacre
