#include "train/loss.h"

#include <cassert>
#include <cmath>

namespace nacre {

LossResult softmax_cross_entropy(TensorView<const float> logits, std::span<const int32_t> labels,
                                 TensorView<float> grad) {
  const int64_t rows = logits.shape[0];
  const int64_t classes = logits.shape[1];
  assert(static_cast<int64_t>(labels.size()) == rows);
  LossResult result;
  for (int64_t row = 0; row < rows; ++row) {
    const float* z = logits.data + row * classes;
    const int64_t label = labels[static_cast<size_t>(row)];
    int64_t largest = 0;
    for (int64_t j = 1; j < classes; ++j) {
      if (z[j] > z[largest]) largest = j;
    }
    const double max = z[largest];
    double sum = 0;
    for (int64_t j = 0; j < classes; ++j) sum += std::exp(static_cast<double>(z[j]) - max);
    result.loss += std::log(sum) - (static_cast<double>(z[label]) - max);
    result.correct += largest == label ? 1 : 0;
    if (grad.empty()) continue;
    float* g = grad.data + row * classes;
    const auto scale = 1.0 / static_cast<double>(rows);
    for (int64_t j = 0; j < classes; ++j) {
      const double p = std::exp(static_cast<double>(z[j]) - max) / sum;
      g[j] = static_cast<float>((p - (j == label ? 1.0 : 0.0)) * scale);
    }
  }
  result.loss /= static_cast<double>(rows);
  return result;
}

}  // namespace nacre
