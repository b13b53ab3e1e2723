#include "serialize/tensorflow/tensor_names.h"

#include <array>

namespace nacre {
namespace {

constexpr std::string_view kSuffix = "/.ATTRIBUTES/VARIABLE_VALUE";

struct Slot {
  std::string_view ours;
  std::string_view theirs;
};

constexpr std::array<Slot, 3> kSlots{
    {{"/adam_m", "/Adam"}, {"/adam_v", "/Adam_1"}, {"/momentum", "/Momentum"}}};

}  // namespace

TensorNames::TensorNames(const NameMap& map) : to_theirs_(map) {
  for (const auto& [ours, theirs] : map) to_ours_.emplace(bare(theirs), ours);
}

std::string_view TensorNames::bare(std::string_view name) {
  if (name.ends_with(kSuffix)) name.remove_suffix(kSuffix.size());
  return name;
}

std::string TensorNames::theirs(std::string_view name, const Exists& exists) const {
  if (const auto mapped = to_theirs_.find(name); mapped != to_theirs_.end()) return mapped->second;
  for (const Slot& slot : kSlots) {
    if (!name.ends_with(slot.ours)) continue;
    const std::string_view variable = name.substr(0, name.size() - slot.ours.size());
    if (!exists(variable)) continue;
    const auto mapped = to_theirs_.find(variable);
    return (mapped == to_theirs_.end() ? std::string(variable) : mapped->second) + std::string(slot.theirs);
  }
  return std::string(name);
}

std::string TensorNames::ours(std::string_view name, const Exists& exists) const {
  name = bare(name);
  if (const auto mapped = to_ours_.find(name); mapped != to_ours_.end()) return mapped->second;
  for (const Slot& slot : kSlots) {
    if (!name.ends_with(slot.theirs)) continue;
    const std::string_view variable = name.substr(0, name.size() - slot.theirs.size());
    if (!exists(variable)) continue;
    if (const auto mapped = to_ours_.find(variable); mapped != to_ours_.end()) {
      return mapped->second + std::string(slot.ours);
    }
    // Not of the variable that has this name here, when that is another one there.
    if (!to_theirs_.contains(variable)) return std::string(variable) + std::string(slot.ours);
  }
  return std::string(name);
}

}  // namespace nacre
