#include "layers/model_file.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <span>
#include <utility>

#include "engine/file.h"
#include "layers/activation_layer.h"
#include "layers/contract_names.h"
#include "layers/presets.h"
#include "layers/strict_json.h"

namespace nacre {
namespace {

using Json = nlohmann::json;

constexpr int64_t kMaxSide = 1 << 14;
constexpr double kMaxScale = 1e6;
constexpr size_t kMaxNameBytes = 255;
constexpr size_t kMaxListed = 64;  // elements of a list attribute
constexpr std::string_view kClasses = "classes";

/// A value in a message.
std::string shown(const Json& value) {
  constexpr size_t kMaxShown = 60;
  if (value.is_object()) return "an object";
  if (value.is_array()) return "a list";
  const std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
  return text.size() <= kMaxShown ? text : text.substr(0, kMaxShown) + "...";
}

/// A key in a message: as it is when it is harmless.
std::string key_text(const std::string& key) {
  return is_valid_name(key) ? key : shown(Json(key));
}

Status bad(std::string_view place, std::string_view reason) {
  return {StatusCode::kBadData, fmt::format("{}: {}", place, reason)};
}

/// The members of a JSON object, read by name.
class ObjectReader {
 public:
  /// `place` is "" for the whole file.
  static Result<ObjectReader> open(const Json& value, const std::string& place) {
    if (!value.is_object()) {
      return bad(place.empty() ? "model" : place, "is " + shown(value) + ", expected an object");
    }
    return ObjectReader(value, place);
  }

  [[nodiscard]] std::string place_of(std::string_view key) const {
    return place_.empty() ? std::string(key) : fmt::format("{}.{}", place_, key);
  }

  /// Complains of members that are not among `known`. Asked first: a key that is misspelt is the reason why
  /// the right one is missing.
  [[nodiscard]] Status check_keys(std::span<const std::string_view> known) const {
    for (const auto& [key, value] : object_->items()) {
      if (std::ranges::find(known, key) == known.end()) {
        return bad(place_of(key_text(key)), fmt::format("unknown key; known are {}", fmt::join(known, ", ")));
      }
    }
    return {};
  }

  const Json* find(std::string_view key) {
    const auto found = object_->find(std::string(key));
    return found == object_->end() ? nullptr : &*found;
  }

  Result<const Json*> require(std::string_view key) {
    const Json* value = find(key);
    if (value == nullptr) return bad(place_of(key), "is missing");
    return value;
  }

  Status integer(std::string_view key, int64_t min, int64_t max, int64_t& to) {
    NACRE_ASSIGN_OR_RETURN(const Json* value, require(key));
    const bool is_integer =
        value->is_number_integer() &&
        !(value->is_number_unsigned() && value->get<uint64_t>() > static_cast<uint64_t>(INT64_MAX));
    if (!is_integer || value->get<int64_t>() < min || value->get<int64_t>() > max) {
      return bad(place_of(key),
                 fmt::format("is {}, expected an integer from {} to {}", shown(*value), min, max));
    }
    to = value->get<int64_t>();
    return {};
  }

  template <typename E>
  Status choice(std::string_view key, E& to) {
    const Json* value = find(key);
    if (value == nullptr) return {};
    std::vector<std::string> known;
    for (const EnumName<E>& e : names_of(to)) {
      if (value->is_string() && value->get_ref<const std::string&>() == e.name) {
        to = e.value;
        return {};
      }
      known.push_back(fmt::format("{:?}", e.name));
    }
    return bad(place_of(key), fmt::format("is {}; known are {}", shown(*value), fmt::join(known, ", ")));
  }

 private:
  ObjectReader(const Json& object, std::string place) : object_(&object), place_(std::move(place)) {}

  const Json* object_;
  std::string place_;
};

Result<std::string> read_name(const Json& value, const std::string& place) {
  if (!value.is_string() || !is_valid_name(value.get_ref<const std::string&>())) {
    return bad(place,
               fmt::format("is {}, expected 1 to {} letters, digits, '_', '-' or '.', not starting with '.'",
                           shown(value), kMaxNameBytes));
  }
  return value.get<std::string>();
}

Result<InputContract> read_input(const Json& value) {
  NACRE_ASSIGN_OR_RETURN(ObjectReader object, ObjectReader::open(value, "input"));
  constexpr std::array<std::string_view, 7> kKeys{"height", "width",  "channels", "jpeg_dct",
                                                  "exif",   "resize", "scale"};
  NACRE_RETURN_IF_ERROR(object.check_keys(kKeys));
  InputContract input;
  NACRE_RETURN_IF_ERROR(object.integer("height", 1, kMaxSide, input.height));
  NACRE_RETURN_IF_ERROR(object.integer("width", 1, kMaxSide, input.width));
  NACRE_RETURN_IF_ERROR(object.integer("channels", 1, 3, input.channels));
  if (input.channels == 2) return bad("input.channels", "is 2, expected 1 (grey) or 3 (RGB)");
  NACRE_RETURN_IF_ERROR(object.choice("jpeg_dct", input.jpeg_dct));
  NACRE_RETURN_IF_ERROR(object.choice("exif", input.exif));
  NACRE_RETURN_IF_ERROR(object.choice("resize", input.resize));
  if (const Json* scale = object.find("scale"); scale != nullptr) {
    const double number = scale->is_number() ? scale->get<double>() : 0.0;
    input.scale = static_cast<float>(std::min(number, kMaxScale));
    if (!(number <= kMaxScale && std::isnormal(input.scale) && input.scale > 0)) {
      return bad("input.scale",
                 fmt::format("is {}, expected a number above 0, at most {}", shown(*scale), kMaxScale));
    }
  }
  return input;
}

std::optional<int64_t> as_int64(const Json& value) {
  if (value.is_number_unsigned()) {
    const auto number = value.get<uint64_t>();
    if (number > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return std::nullopt;
    return static_cast<int64_t>(number);
  }
  if (value.is_number_integer()) return value.get<int64_t>();
  return std::nullopt;
}

Result<AttrValue> read_attribute(const Json& value, const std::string& place) {
  if (value.is_boolean()) return AttrValue(value.get<bool>());
  if (value.is_string()) return AttrValue(value.get<std::string>());
  if (value.is_number_float()) return AttrValue(value.get<double>());
  if (const auto number = as_int64(value)) return AttrValue(*number);
  if (value.is_array() && !value.empty() && value.size() <= kMaxListed) {
    std::vector<int64_t> list;
    for (const Json& element : value) {
      if (const auto number = as_int64(element)) list.push_back(*number);
    }
    if (list.size() == value.size()) return AttrValue(list);
  }
  return bad(place,
             fmt::format("is {}, expected true, false, a number, text or a list of integers", shown(value)));
}

/// "classes" replaced.
AttrMap with_classes(AttrMap attributes, int64_t classes) {
  for (auto& [name, value] : attributes) {
    if (const auto* text = std::get_if<std::string>(&value); text != nullptr && *text == kClasses)
      value = classes;
  }
  return attributes;
}

/// Refuses attributes that the op does not know, and text other than "classes" in place of a number.
Status check_attributes(const ObjectReader& layer, const OpDef& def, const AttrMap& attributes) {
  std::vector<std::string_view> known{"op", "name", "inputs"};
  for (const AttrDoc& doc : def.attributes) known.push_back(doc.name);
  NACRE_RETURN_IF_ERROR(layer.check_keys(known));
  for (const AttrDoc& doc : def.attributes) {
    const auto found = attributes.find(doc.name);
    if (found == attributes.end() || !doc.type.starts_with("integer,")) continue;
    const auto* text = std::get_if<std::string>(&found->second);
    if (text == nullptr || *text == kClasses) continue;
    return bad(layer.place_of(doc.name),
               fmt::format("is {}, expected an {}, or {:?}", for_message(found->second), doc.type, kClasses));
  }
  return {};
}

/// Reads "op", "inputs" and the attributes. Name, default inputs and activation are settled later.
Result<LayerNodes> read_layer(const Json& value, const std::string& place, const Registry& registry) {
  NACRE_ASSIGN_OR_RETURN(ObjectReader object, ObjectReader::open(value, place));
  NACRE_ASSIGN_OR_RETURN(const Json* op, object.require("op"));
  const OpDef* def = op->is_string() ? registry.find(op->get_ref<const std::string&>()) : nullptr;
  if (def == nullptr) {
    return bad(object.place_of("op"),
               fmt::format("unknown op {}; known are {}", shown(*op), registry.names()));
  }
  Node node;
  node.op = def->name;
  node.op_version = def->version;
  if (const Json* name = object.find("name"); name != nullptr) {
    NACRE_ASSIGN_OR_RETURN(node.name, read_name(*name, object.place_of("name")));
  }
  if (const Json* inputs = object.find("inputs"); inputs != nullptr) {
    if (!inputs->is_array() || inputs->empty() || inputs->size() > Graph::kMaxNodes) {
      return bad(object.place_of("inputs"),
                 fmt::format("is {}, expected a list of layer names", shown(*inputs)));
    }
    for (size_t i = 0; i < inputs->size(); ++i) {
      NACRE_ASSIGN_OR_RETURN(std::string input,
                             read_name((*inputs)[i], fmt::format("{}[{}]", object.place_of("inputs"), i)));
      node.inputs.push_back(std::move(input));
    }
  }
  for (const auto& [key, attribute] : value.items()) {
    if (key == "op" || key == "name" || key == "inputs") continue;
    NACRE_ASSIGN_OR_RETURN(AttrValue read, read_attribute(attribute, object.place_of(key_text(key))));
    node.attributes.emplace(key, std::move(read));
  }
  NACRE_RETURN_IF_ERROR(check_attributes(object, *def, node.attributes));
  const std::string op_place = place + " (" + node.op + ")";
  auto activation = take_activation_layer(*def, node.attributes, registry);
  if (!activation.ok()) return activation.status().at(op_place);
  NACRE_RETURN_IF_ERROR(def->normalize(with_classes(node.attributes, 2)).status().at(op_place));
  return LayerNodes{std::move(node), std::move(activation).value()};
}

/// Keras's way of naming: "MaxPool2D" gives "max_pool2d".
std::string snake_case(std::string_view op) {
  std::string result;
  for (size_t i = 0; i < op.size(); ++i) {
    const bool upper = op[i] >= 'A' && op[i] <= 'Z';
    if (upper && i > 0 && op[i - 1] >= 'a' && op[i - 1] <= 'z') result += '_';
    result += upper ? static_cast<char>(op[i] - 'A' + 'a') : op[i];
  }
  return result;
}

/// Names for the layers that have none ("conv2d", "conv2d_1", ...), and the layer before as default input.
void complete(std::vector<LayerNodes>& layers) {
  std::set<std::string, std::less<>> taken{std::string(kInputName), std::string(kPredictionName)};
  for (const auto& [node, activation] : layers) taken.insert(node.name);
  std::map<std::string, int, std::less<>> used;
  for (auto& [node, activation] : layers) {
    if (!node.name.empty()) continue;
    const std::string base = snake_case(node.op);
    do {
      const int number = used[base]++;
      node.name = number == 0 ? base : fmt::format("{}_{}", base, number);
    } while (!taken.insert(node.name).second);
  }
  std::string before(kInputName);
  for (auto& [node, activation] : layers) {
    if (node.inputs.empty()) node.inputs.push_back(before);
    before = node.name;
  }
}

Result<std::vector<Node>> read_layers(const Json& value, const Registry& registry) {
  if (!value.is_array() || value.empty()) {
    return bad("layers", fmt::format("is {}, expected a list with at least one layer",
                                     value.is_array() ? "empty" : shown(value)));
  }
  if (value.size() > Graph::kMaxNodes) {
    return Status(StatusCode::kLimit,
                  fmt::format("layers: {} of them, at most {} are allowed", value.size(), Graph::kMaxNodes));
  }
  std::vector<LayerNodes> layers;
  for (size_t i = 0; i < value.size(); ++i) {
    NACRE_ASSIGN_OR_RETURN(LayerNodes layer, read_layer(value[i], fmt::format("layers[{}]", i), registry));
    layers.push_back(std::move(layer));
  }
  complete(layers);
  std::vector<Node> nodes = put_in_line(std::move(layers));
  const Result<Graph> graph = Graph::make(nodes);
  if (!graph.ok()) return graph.status().at("layers");
  if (graph->output().op == "Softmax") {
    return bad("layers", fmt::format("the output {} is a softmax, expected the scores before it: prediction "
                                     "adds a softmax of its own",
                                     graph->output().name));
  }
  return nodes;
}

Result<std::string> read_recipe(const Json& value) {
  if (!value.is_object()) return bad("recipe", "is " + shown(value) + ", expected an object");
  for (const auto& [key, option] : value.items()) {
    if (!option.is_primitive() || option.is_null()) {
      return bad("recipe." + key_text(key),
                 fmt::format("is {}, expected true, false, a number or text", shown(option)));
    }
  }
  return value.dump();
}

Result<ModelDescription> read_model(const Json& root, const Registry& registry) {
  NACRE_ASSIGN_OR_RETURN(ObjectReader object, ObjectReader::open(root, ""));
  constexpr std::array<std::string_view, 4> kKeys{"name", "input", "layers", "recipe"};
  NACRE_RETURN_IF_ERROR(object.check_keys(kKeys));
  ModelDescription model;
  NACRE_ASSIGN_OR_RETURN(const Json* name, object.require("name"));
  NACRE_ASSIGN_OR_RETURN(model.name, read_name(*name, "name"));
  NACRE_ASSIGN_OR_RETURN(const Json* input, object.require("input"));
  NACRE_ASSIGN_OR_RETURN(model.input, read_input(*input));
  NACRE_ASSIGN_OR_RETURN(const Json* layers, object.require("layers"));
  const Json* recipe = object.find("recipe");
  NACRE_ASSIGN_OR_RETURN(model.nodes, read_layers(*layers, registry));
  model.recipe = "{}";
  if (recipe != nullptr) {
    NACRE_ASSIGN_OR_RETURN(model.recipe, read_recipe(*recipe));
  }
  return model;
}

}  // namespace

Result<ModelDescription> parse_model(std::string_view json, const std::string& where,
                                     const Registry& registry) {
  NACRE_ASSIGN_OR_RETURN(const Json root, parse_strict_json(json, where));
  Result<ModelDescription> model = read_model(root, registry);
  if (!model.ok()) return model.status().at(where);
  return model;
}

Result<Graph> build_graph(const ModelDescription& model, int64_t classes, const Registry& registry) {
  std::vector<Node> nodes = model.nodes;
  for (Node& node : nodes) {
    const OpDef* def = registry.find(node.op);
    if (def == nullptr) {
      return Status(StatusCode::kUnsupported, fmt::format("layer {:?}: unknown op {:?}; known are {}",
                                                          node.name, node.op, registry.names()));
    }
    auto attributes = def->normalize(with_classes(std::move(node.attributes), classes));
    if (!attributes.ok()) return attributes.status().at(fmt::format("layer {:?}", node.name));
    node.attributes = std::move(attributes).value();
  }
  return Graph::make(std::move(nodes));
}

std::vector<std::string> preset_names() {
  std::vector<std::string> names;
  for (const Preset& preset : presets()) names.emplace_back(preset.name);
  return names;
}

Result<ModelDescription> load_model(const std::string& preset_or_file, const Registry& registry) {
  for (const Preset& preset : presets()) {
    if (preset.name == preset_or_file) return parse_model(preset.json, preset_or_file, registry);
  }
  auto bytes = read_file(preset_or_file, kMaxJsonBytes);
  if (!bytes.ok()) {
    // A name that looks like a path was meant as one.
    if (bytes.status().code() == StatusCode::kLimit ||
        preset_or_file.find_first_of("/.") != std::string::npos) {
      return bytes.status();
    }
    return Status(StatusCode::kUsage, fmt::format("{}: no such preset ({}), and no model file either",
                                                  preset_or_file, fmt::join(preset_names(), ", ")));
  }
  const std::string_view text(reinterpret_cast<const char*>(bytes->data()), bytes->size());
  return parse_model(text, preset_or_file, registry);
}

}  // namespace nacre
