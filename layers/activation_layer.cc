#include "layers/activation_layer.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string>
#include <utility>

namespace nacre {
namespace {

struct ActivationLayer {
  std::string_view name;  ///< Keras's
  std::string_view op;
  AttrMap attributes;
};

std::vector<ActivationLayer> activation_layers() {
  return {{"elu", "ELU", {}},         {"leaky_relu", "LeakyReLU", {{"negative_slope", 0.2}}},
          {"relu6", "ReLU6", {}},     {"sigmoid", "Sigmoid", {}},
          {"softmax", "Softmax", {}}, {"tanh", "Tanh", {}}};
}

}  // namespace

Result<std::optional<Node>> take_activation_layer(const OpDef& def, AttrMap& attributes,
                                                  const Registry& registry) {
  const auto doc = std::ranges::find(def.attributes, "activation", &AttrDoc::name);
  const auto given = attributes.find("activation");
  if (doc == def.attributes.end() || given == attributes.end()) return std::optional<Node>();
  const auto* name = std::get_if<std::string>(&given->second);
  if (name == nullptr || doc->type.find('"' + *name + '"') != std::string::npos) return std::optional<Node>();
  std::string known = doc->type;
  for (ActivationLayer& layer : activation_layers()) {
    const OpDef* op = registry.find(layer.op);
    if (op == nullptr) continue;
    if (layer.name == *name) {
      Node node{*name, op->name, op->version, std::move(layer.attributes), {}};
      attributes.erase(given);
      return std::optional<Node>(std::move(node));
    }
    known += fmt::format(" | \"{}\"", layer.name);
  }
  return Status(StatusCode::kBadData,
                fmt::format("activation is {}; known are {}", for_message(given->second), known));
}

std::vector<Node> put_in_line(std::vector<LayerNodes> layers) {
  std::map<std::string, std::string, std::less<>> outputs;
  for (auto& [layer, activation] : layers) {
    if (!activation.has_value()) continue;
    activation->inputs = {layer.name};
    activation->name = layer.name + "_" + activation->name;
    outputs[layer.name] = activation->name;
  }
  std::vector<Node> nodes;
  for (auto& [layer, activation] : layers) {
    for (std::string& input : layer.inputs) {
      if (const auto found = outputs.find(input); found != outputs.end()) input = found->second;
    }
    nodes.push_back(std::move(layer));
    if (activation.has_value()) nodes.push_back(*std::move(activation));
  }
  return nodes;
}

}  // namespace nacre
