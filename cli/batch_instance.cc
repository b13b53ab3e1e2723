#include "cli/batch_instance.h"

#include <nlohmann/json.hpp>

#include "cli/console.h"
#include "engine/base64.h"
#include "layers/strict_json.h"

namespace nacre {
namespace {

using Json = nlohmann::json;

constexpr std::string_view kBlanks = " \t\r\n";

Status bad_instance(const std::string& found) {
  return {StatusCode::kBadData,
          "instance: expected {\"image\": {\"b64\": \"...\"}} or {\"b64\": \"...\"}, found " + found};
}

Result<std::vector<std::byte>> image_of(const Json& value) {
  if (!value.is_object()) return bad_instance(value.type_name());
  for (const auto& [name, part] : value.items()) {
    if (name != "b64" && name != "image" && name != "key") return bad_instance("the key " + printable(name));
  }
  if (value.contains("b64") == value.contains("image"))
    return bad_instance(value.contains("b64") ? "both" : "neither");
  const Json& holder = value.contains("image") ? value["image"] : value;
  if (!holder.is_object() || !holder.contains("b64") || (&holder != &value && holder.size() != 1))
    return bad_instance("another value for image");
  if (!holder["b64"].is_string()) return bad_instance("b64 of another type than text");
  return decode_base64(holder["b64"].get_ref<const std::string&>());
}

/// The text of the number that is the value of "key" in the outermost object of valid JSON: a double would
/// not keep all of its digits. Empty when the name is written with escapes.
std::string_view number_of_key(std::string_view json) {
  int depth = 0;
  for (size_t at = 0; at < json.size();) {
    if (json[at] != '"') {
      depth += json[at] == '{' || json[at] == '[' ? 1 : 0;
      depth -= json[at] == '}' || json[at] == ']' ? 1 : 0;
      ++at;
      continue;
    }
    const size_t begin = at++;
    for (; json[at] != '"'; ++at) at += json[at] == '\\' ? 1 : 0;
    const std::string_view text = json.substr(begin, ++at - begin);
    if (depth != 1 || text != "\"key\"") continue;
    const size_t colon = json.find_first_not_of(kBlanks, at);
    if (json[colon] != ':') continue;  // not a name, but a value
    json.remove_prefix(json.find_first_not_of(kBlanks, colon + 1));
    return json.substr(0, json.find_first_of(" \t\r\n,}"));
  }
  return "";
}

}  // namespace

Instance read_instance(std::string_view line, int64_t number) {
  Instance instance;
  instance.line = number;
  const Result<Json> value = parse_strict_json(line, "instance");
  if (!value.ok()) {
    instance.image = value.status();
    return instance;
  }
  const Json key = value->is_object() ? value->value("key", Json()) : Json();
  if (key.is_structured() || key.is_boolean()) {
    instance.image = Status(StatusCode::kBadData, "instance: key: expected text or a number");
    return instance;
  }
  if (key.is_number()) instance.key = number_of_key(line);
  if (!key.is_null() && instance.key.empty()) instance.key = key.dump();
  instance.image = image_of(*value);
  return instance;
}

}  // namespace nacre
