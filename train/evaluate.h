#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/executor.h"
#include "train/dataset.h"

namespace nacre {

/// How a model does on a data set.
struct Evaluation {
  double loss = 0;  ///< mean cross-entropy
  int64_t correct = 0;
  int64_t count = 0;
  /// confusion[true class][predicted class]: how many.
  std::vector<std::vector<int64_t>> confusion;

  /// correct / count.
  [[nodiscard]] double accuracy() const { return static_cast<double>(correct) / static_cast<double>(count); }
};

/// Runs the whole data set, in order and without augmentation, through `executor`, whose plan is one for
/// inference and gives logits [N, classes], or, with `probabilities`, the softmax of them. Errors are those
/// of reading images, kBadData when the number of classes differs, and kDiverged, naming the image, when a
/// score is not finite.
Result<Evaluation> evaluate(Executor& executor, const Plan& plan, const std::shared_ptr<const Dataset>& data,
                            int threads, bool probabilities);

}  // namespace nacre
