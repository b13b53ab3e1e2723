#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>
#include <string>
#include <variant>
#include <vector>

#include "layers/contract_names.h"
#include "layers/model_file.h"

namespace nacre {
namespace {

using Json = nlohmann::json;

template <typename E>
std::string name_of(E value) {
  for (const EnumName<E>& e : names_of(value)) {
    if (e.value == value) return std::string(e.name);
  }
  return "";
}

std::string json_text(std::string_view text) {
  return Json(text).dump();
}

std::string attribute_json(const AttrValue& value) {
  if (const auto* text = std::get_if<std::string>(&value)) return json_text(*text);
  if (const auto* number = std::get_if<double>(&value)) return Json(*number).dump();
  return to_string(value);
}

}  // namespace

std::string write_model(const ModelDescription& model) {
  const InputContract& in = model.input;
  std::string text = fmt::format("{{\n  \"name\": {},\n", json_text(model.name));
  text += fmt::format(
      "  \"input\": {{\"height\": {}, \"width\": {}, \"channels\": {}, \"jpeg_dct\": \"{}\", \"exif\": "
      "\"{}\", "
      "\"resize\": \"{}\", \"scale\": {}}},\n  \"layers\": [\n",
      in.height, in.width, in.channels, name_of(in.jpeg_dct), name_of(in.exif), name_of(in.resize), in.scale);
  for (size_t i = 0; i < model.nodes.size(); ++i) {
    const Node& node = model.nodes[i];
    text += fmt::format("    {{\"op\": {}, \"name\": {}", json_text(node.op), json_text(node.name));
    const std::string before = i == 0 ? std::string(kInputName) : model.nodes[i - 1].name;
    if (node.inputs != std::vector<std::string>{before}) {
      text += ", \"inputs\": " + Json(node.inputs).dump();
    }
    for (const auto& [name, value] : node.attributes) {
      text += fmt::format(", {}: {}", json_text(name), attribute_json(value));
    }
    text += i + 1 < model.nodes.size() ? "},\n" : "}\n";
  }
  text += "  ]";
  const Json recipe = Json::parse(model.recipe, nullptr, false);
  if (recipe.is_object() && !recipe.empty()) {
    std::vector<std::string> lines;
    for (const auto& [key, value] : recipe.items()) {
      lines.push_back(fmt::format("    {}: {}", json_text(key), value.dump()));
    }
    text += fmt::format(",\n  \"recipe\": {{\n{}\n  }}", fmt::join(lines, ",\n"));
  }
  return text + "\n}\n";
}

}  // namespace nacre
