#pragma once

#include <vector>

namespace nacre {

/// What the backward of one operator does to the gradients of its inputs.
struct GradientWrites {
  std::vector<int> values;  ///< the inputs whose gradients it writes, or adds to
  bool in_place = false;    ///< OperatorInfo::gradients_in_place
};

/// Which gradients may lie in one buffer. Operator i computes value i + 1; backward runs from the last
/// operator to the first, each reading the gradient of its value, which is complete by then, for the last
/// time. An operator that works in place puts gradients where its own value's is, or one input's where
/// another's is, as long as each is only read until anything is added to one of them.
///
/// Of each value, the one in whose gradient's buffer its own lies, often itself.
std::vector<int> share_gradients(const std::vector<GradientWrites>& operators);

}  // namespace nacre
