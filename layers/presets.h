#pragma once

#include <span>
#include <string_view>

namespace nacre {

/// A model file that is part of the program.
struct Preset {
  std::string_view name;
  std::string_view json;
};

/// The files of layers/presets/, sorted by name.
std::span<const Preset> presets();

}  // namespace nacre
