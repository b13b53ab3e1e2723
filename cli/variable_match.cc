#include "cli/variable_match.h"

#include <fmt/format.h>

#include <utility>

#include "cli/console.h"
#include "serialize/tensorflow/tensor_names.h"
#include "train/optimizer.h"

namespace nacre {
namespace {

/// The slots that any optimizer gives a variable.
std::vector<std::string> slot_names(const PlannedVariable& variable) {
  OptimizerOptions adam;
  adam.kind = OptimizerKind::kAdam;
  OptimizerOptions momentum;
  momentum.kind = OptimizerKind::kSgd;
  momentum.momentum = 0.5;
  std::vector<std::string> names = Optimizer(adam).slot_names(variable);
  for (std::string& name : Optimizer(momentum).slot_names(variable)) names.push_back(std::move(name));
  return names;
}

}  // namespace

Names mappable(const std::vector<PlannedVariable>& variables) {
  Names names{std::string(kGlobalStep)};
  for (const PlannedVariable& variable : variables) {
    names.insert(variable.name);
    for (std::string& slot : slot_names(variable)) names.insert(std::move(slot));
  }
  return names;
}

Names mappable(const VariableStore& store) {
  std::vector<PlannedVariable> variables;
  for (const auto& [name, tensor] : store.tensors()) {
    if (store.is_slot(name)) continue;
    PlannedVariable& variable = variables.emplace_back();
    variable.name = name;
  }
  return mappable(variables);
}

VariableMatch match_variables(const VariableStore& store, const std::vector<PlannedVariable>& variables,
                              bool with_slots) {
  VariableMatch match;
  Names known;
  Names right;
  const auto sort = [&](const std::string& name, const Tensor& tensor, const Shape& shape,
                        std::vector<std::string>& fitting) {
    if (tensor.shape() == shape) {
      fitting.push_back(name);
      return true;
    }
    match.other_shape.push_back(
        {name, fmt::format("{} is {}, expected {}", name, tensor.shape().to_string(), shape.to_string())});
    return false;
  };
  for (const PlannedVariable& variable : variables) {
    known.insert(variable.name);
    const Tensor* tensor = store.find(variable.name);
    if (tensor == nullptr) match.missing.push_back(variable.name);
    const bool is_right = tensor != nullptr && sort(variable.name, *tensor, variable.shape, match.matching);
    if (is_right) right.insert(variable.name);
    for (const std::string& slot : slot_names(variable)) {
      known.insert(slot);
      const Tensor* values = store.find(slot);
      if (is_right && with_slots && values != nullptr) sort(slot, *values, variable.shape, match.slots);
    }
  }
  for (const auto& [name, tensor] : store.tensors()) {
    if (known.contains(name)) continue;
    const bool of_right = with_slots && right.contains(name.substr(0, name.rfind('/')));
    if (!store.is_slot(name) || of_right) match.extra.push_back(name);
  }
  return match;
}

std::string VariableMatch::differences() const {
  std::string text;
  const auto add = [&](const std::string& part) { text += (text.empty() ? "" : "; ") + part; };
  if (!missing.empty()) add("lacks " + listed(missing));
  std::vector<std::string> shapes;
  for (const OtherShape& other : other_shape) shapes.push_back(other.text);
  if (!shapes.empty()) add(listed(shapes, "; "));
  if (!extra.empty()) add("what it has beside: " + listed(extra));
  return text;
}

}  // namespace nacre
