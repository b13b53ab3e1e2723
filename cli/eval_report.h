#pragma once

#include <string>
#include <vector>

#include "train/evaluate.h"

namespace nacre {

/// An evaluation as one line of JSON: accuracy, loss, count, per_class (label, index, count, precision,
/// recall, f1; precision is null for a class that was never predicted, recall for one without images) and
/// confusion[true][predicted]; of more than 1,000 classes confusion is null, and confusion_cells lists [true,
/// predicted, images] of the cells that are not zero.
std::string eval_json(const Evaluation& evaluation, const std::vector<std::string>& labels);

/// The same for reading: a table of the classes, and the confusion matrix, or with many classes the pairs
/// that were confused most.
std::string eval_text(const Evaluation& evaluation, const std::vector<std::string>& labels);

}  // namespace nacre
