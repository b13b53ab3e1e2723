#include "engine/op_def.h"

namespace nacre {

const OpDef* Registry::find(std::string_view name) const {
  for (const OpDef& op : ops_) {
    if (op.pattern.empty() && op.name == name) return &op;
  }
  return nullptr;
}

std::string Registry::names() const {
  std::string text;
  for (const OpDef& op : ops_) {
    if (op.pattern.empty()) text += (text.empty() ? "" : ", ") + op.name;
  }
  return text;
}

}  // namespace nacre
