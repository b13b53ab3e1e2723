#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/status.h"
#include "serialize/tensorflow/flat_graph.h"

namespace nacre {

/// The values of a node's outputs, from those of its inputs; none when they cannot be told (an op that is not
/// known, or of a kind that no graph of a classifier needs). Errors do not name the node: kCorrupt for inputs
/// that do not fit the op, kLimit for a result of more than `max_elements`.
Result<std::vector<FoldedTensor>> fold_op(const FlatNode& node, std::span<const FoldedTensor* const> in,
                                          int64_t max_elements);

}  // namespace nacre
