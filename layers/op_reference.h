#pragma once

#include <string>

#include "engine/op_def.h"

namespace nacre {

/// The reference of all ops as Markdown, made from their definitions: docs/ops.md.
std::string op_reference(const Registry& registry);

}  // namespace nacre
