#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "engine/status.h"
#include "engine/tensor.h"

namespace nacre {

/// Named tensors, sorted by name: variables such as `conv1/kernel` and optimizer slots such as
/// `conv1/kernel/adam_m`. Owns its tensors (or keeps alive the mapped file that they lie in). Threads may
/// share one that nobody changes.
class VariableStore {
 public:
  using Map = std::map<std::string, Tensor, std::less<>>;

  /// kBadData when the name is taken already.
  Status add(std::string name, Tensor tensor);
  /// Null when there is none.
  [[nodiscard]] const Tensor* find(std::string_view name) const;
  [[nodiscard]] Tensor* find(std::string_view name);
  /// True for the name of an optimizer slot: that of a variable of the store and one word more
  /// ("conv1/kernel/adam_m").
  [[nodiscard]] bool is_slot(std::string_view name) const;
  [[nodiscard]] const Map& tensors() const { return tensors_; }
  [[nodiscard]] size_t size() const { return tensors_.size(); }
  /// Sum of the elements of all tensors.
  [[nodiscard]] int64_t num_elements() const;
  [[nodiscard]] VariableStore clone() const;

 private:
  Map tensors_;
};

}  // namespace nacre
