#pragma once

#include <set>
#include <string>
#include <vector>

#include "engine/plan.h"
#include "engine/variable_store.h"

namespace nacre {

using Names = std::set<std::string, std::less<>>;

/// What of a network's tensors --map can name: variables, their slots of any optimizer, and global_step.
Names mappable(const std::vector<PlannedVariable>& variables);
/// The same for what a file holds.
Names mappable(const VariableStore& store);

/// How the tensors of a file compare with a network's variables, by name.
struct VariableMatch {
  struct OtherShape {
    std::string name;
    std::string text;  ///< "conv1/bias is [4], expected [5]"
  };
  std::vector<std::string> matching;  ///< variables that the file has in the right shape
  std::vector<std::string> slots;     ///< of those, in the right shape
  std::vector<std::string> missing;
  std::vector<OtherShape> other_shape;
  /// What the file has beside. Slots are named only where their variable is a matching one.
  std::vector<std::string> extra;

  /// All three lists, the first ones of each: "lacks A, B; C is [4], expected [5]; what it has beside: D".
  [[nodiscard]] std::string differences() const;
};

/// `with_slots`: whether optimizer slots matter; else none is in any list.
VariableMatch match_variables(const VariableStore& store, const std::vector<PlannedVariable>& variables,
                              bool with_slots);

}  // namespace nacre
