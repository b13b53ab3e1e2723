#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <utility>

#include "engine/executor.h"
#include "train/dataset.h"

namespace nacre {

/// How many images of each class were taken for which. Only pairs that occur are held: of ten thousand
/// classes a matrix would take 800 MB, whatever the number of images.
class Confusion {
 public:
  Confusion() = default;
  explicit Confusion(size_t classes) : classes_(classes) {}
  void add(size_t truth, size_t predicted, int64_t images = 1) { cells_[{truth, predicted}] += images; }
  [[nodiscard]] size_t classes() const { return classes_; }
  [[nodiscard]] int64_t at(size_t truth, size_t predicted) const {
    const auto found = cells_.find({truth, predicted});
    return found == cells_.end() ? 0 : found->second;
  }
  /// {true class, predicted class}: images, in order.
  [[nodiscard]] const std::map<std::pair<size_t, size_t>, int64_t>& cells() const { return cells_; }
  [[nodiscard]] bool operator==(const Confusion&) const = default;

 private:
  size_t classes_ = 0;
  std::map<std::pair<size_t, size_t>, int64_t> cells_;
};

/// How a model does on a data set.
struct Evaluation {
  double loss = 0;  ///< mean cross-entropy
  int64_t correct = 0;
  int64_t count = 0;
  Confusion confusion;

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
