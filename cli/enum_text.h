#pragma once

#include <string>
#include <type_traits>

#include "engine/attributes.h"

namespace nacre {

/// An enumeration whose values have names (enum_names is found beside it).
template <typename E>
concept Enumeration = std::is_enum_v<E>;

/// "sgd|adam|adamw"
template <Enumeration E>
std::string names_of() {
  std::string names;
  for (const EnumName<E>& e : enum_names(E{})) names += (names.empty() ? "" : "|") + std::string(e.name);
  return names;
}

/// "adam"
template <Enumeration E>
std::string name_of(E value) {
  for (const EnumName<E>& e : enum_names(E{})) {
    if (e.value == value) return std::string(e.name);
  }
  return "";
}

}  // namespace nacre
