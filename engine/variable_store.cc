#include "engine/variable_store.h"

#include <fmt/format.h>

namespace nacre {

Status VariableStore::add(std::string name, Tensor tensor) {
  const auto [place, added] = tensors_.try_emplace(std::move(name), std::move(tensor));
  if (!added) return {StatusCode::kBadData, fmt::format("variable {:?} occurs twice", place->first)};
  return {};
}

const Tensor* VariableStore::find(std::string_view name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : &found->second;
}

Tensor* VariableStore::find(std::string_view name) {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : &found->second;
}

bool VariableStore::is_slot(std::string_view name) const {
  const size_t slash = name.rfind('/');
  return slash != std::string_view::npos && find(name.substr(0, slash)) != nullptr;
}

int64_t VariableStore::num_elements() const {
  int64_t sum = 0;
  for (const auto& [name, tensor] : tensors_) sum += tensor.size();
  return sum;
}

VariableStore VariableStore::clone() const {
  VariableStore copy;
  for (const auto& [name, tensor] : tensors_) copy.tensors_.emplace(name, tensor.clone());
  return copy;
}

}  // namespace nacre
