#include "layers/op_reference.h"

#include <fmt/format.h>

namespace nacre {
namespace {

/// `text` as a cell of a table.
std::string cell(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '|') escaped += '\\';
    escaped += c;
  }
  return escaped;
}

std::string inputs_of(const OpDef& op) {
  if (op.min_inputs == op.max_inputs) return fmt::format("{}", op.min_inputs);
  return fmt::format("{} to {}", op.min_inputs, op.max_inputs);
}

std::string section_of(const OpDef& op) {
  std::string text =
      fmt::format("\n## {}\n\n{}\n\n{}\n\nVersion {}, inputs: {}.{}\n", op.name, op.summary, op.formula,
                  op.version, inputs_of(op), op.training_only ? " The prediction graph leaves it out." : "");
  if (op.attributes.empty()) return text + "No attributes.\n";
  text += "\n| attribute | type | default | |\n|---|---|---|---|\n";
  for (const AttrDoc& attribute : op.attributes) {
    text += fmt::format("| `{}` | {} | {} | {} |\n", attribute.name, cell(attribute.type),
                        attribute.default_value.empty() ? "required" : "`" + attribute.default_value + "`",
                        cell(attribute.text));
  }
  return text;
}

}  // namespace

std::string op_reference(const Registry& registry) {
  std::string text =
      "# Ops\n\nMade from the definitions in `layers/`; see CONTRIBUTING.md for how to make it again. Shapes "
      "are "
      "[N, H, W, C]: images, rows, columns, channels.\n";
  for (const OpDef& op : registry.all()) {
    if (op.pattern.empty()) text += section_of(op);
  }
  text +=
      "\n## Fused operators\n\nModel files do not name these: nacre puts them in place of such chains by "
      "itself.\n\n"
      "| chain | what it does |\n|---|---|\n";
  for (const OpDef& op : registry.all()) {
    if (!op.pattern.empty()) text += fmt::format("| {} | {} |\n", cell(op.name), cell(op.summary));
  }
  return text;
}

}  // namespace nacre
