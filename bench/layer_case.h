#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/attributes.h"
#include "engine/shape.h"

namespace nacre {

/// A layer, or layers that run as one unit, to be timed.
struct LayerCase {
  std::string name;
  std::string op;                   ///< "Conv2D", "Conv2D+MaxPool2D"
  std::vector<AttrMap> attributes;  ///< of each of the unit's nodes
  Shape input;                      ///< of one image
  bool first = false;               ///< a network's first layer, whose input wants no gradient
  bool variables_alone = false;     ///< also times the backward pass without the input's gradient
  bool arithmetic = true;           ///< reports GFLOP/s; else, for layers that only move memory, GB/s
};

/// Registers a benchmark for each case, batch, pass (inference, forward in training, backward, and variables:
/// backward without the input's gradient) and number of threads (1, 2): NAME/PASS/batch:N/threads:T.
void add_layer_cases(const std::vector<LayerCase>& cases, std::span<const int64_t> batches);

}  // namespace nacre
