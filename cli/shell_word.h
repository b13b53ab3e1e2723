#pragma once

#include <string>

namespace nacre {

/// A word as a shell takes it, in quotes where it must be: for commands that a message suggests.
std::string shell_word(const std::string& text);

}  // namespace nacre
