#include "train/loss.h"

#include <cassert>
#include <cmath>

namespace nacre {

std::vector<double> balanced_class_weights(std::span<const int64_t> images_of_class) {
  int64_t images = 0;
  int64_t classes = 0;
  for (const int64_t count : images_of_class) {
    images += count;
    classes += count > 0 ? 1 : 0;
  }
  std::vector<double> weights;
  for (const int64_t count : images_of_class) {
    const double evenly = static_cast<double>(classes) * static_cast<double>(count);
    weights.push_back(count > 0 ? static_cast<double>(images) / evenly : 0.0);
  }
  return weights;
}

LossResult softmax_cross_entropy(TensorView<const float> logits, std::span<const int32_t> labels,
                                 TensorView<float> grad, const LossOptions& options) {
  const int64_t rows = logits.shape[0];
  const int64_t classes = logits.shape[1];
  assert(static_cast<int64_t>(labels.size()) == rows);
  const double smoothing = options.label_smoothing;
  const double share = smoothing / static_cast<double>(classes);
  LossResult result;
  for (int64_t row = 0; row < rows; ++row) {
    const float* z = logits.data + row * classes;
    const int64_t label = labels[static_cast<size_t>(row)];
    const double weight =
        options.class_weights.empty() ? 1.0 : options.class_weights[static_cast<size_t>(label)];
    int64_t largest = 0;
    for (int64_t j = 1; j < classes; ++j) {
      if (z[j] > z[largest]) largest = j;
    }
    const double max = z[largest];
    double sum = 0;
    double logit_sum = 0;
    for (int64_t j = 0; j < classes; ++j) {
      const double below = static_cast<double>(z[j]) - max;
      sum += std::exp(below);
      logit_sum += below;
    }
    double target = static_cast<double>(z[label]) - max;
    // Without smoothing an infinite logit of another class must not touch the loss.
    if (smoothing > 0) target = (1.0 - smoothing) * target + share * logit_sum;
    result.loss += weight * (std::log(sum) - target);
    result.correct += largest == label ? 1 : 0;
    if (grad.empty()) continue;
    float* g = grad.data + row * classes;
    const double scale = weight / static_cast<double>(rows);
    for (int64_t j = 0; j < classes; ++j) {
      const double p = std::exp(static_cast<double>(z[j]) - max) / sum;
      g[j] = static_cast<float>((p - (j == label ? 1.0 - smoothing : 0.0) - share) * scale);
    }
  }
  result.loss /= static_cast<double>(rows);
  return result;
}

}  // namespace nacre
