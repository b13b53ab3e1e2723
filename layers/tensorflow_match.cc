#include "layers/tensorflow_match.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <memory>
#include <utility>
#include <vector>

namespace nacre {
namespace {

template <typename T>
Result<T> attribute_as(const NodeView& node, std::string_view name, T otherwise, std::string_view type) {
  const std::optional<AttrValue> value = node.attribute(name);
  if (!value.has_value()) return otherwise;
  if (const T* found = std::get_if<T>(&*value); found != nullptr) return *found;
  return node_error(node, StatusCode::kCorrupt, fmt::format("attribute {}: expected {}", name, type));
}

}  // namespace

Status node_error(const NodeView& node, StatusCode code, const std::string& reason) {
  return {code, fmt::format("node \"{}\" ({}): {}", node.name(), node.op(), reason)};
}

RecognizedLayer begin_layer(const NodeView& node, size_t i) {
  RecognizedLayer layer;
  layer.inputs = {&node.input(i)};
  extend_layer(layer, node);
  return layer;
}

void extend_layer(RecognizedLayer& layer, const NodeView& node) {
  layer.covered.push_back(&node);
  layer.output = &node;
}

Result<int64_t> int_attribute(const NodeView& node, std::string_view name, int64_t otherwise) {
  return attribute_as<int64_t>(node, name, otherwise, "an integer");
}

Result<bool> bool_attribute(const NodeView& node, std::string_view name, bool otherwise) {
  return attribute_as<bool>(node, name, otherwise, "true or false");
}

Result<std::string> text_attribute(const NodeView& node, std::string_view name, std::string_view otherwise) {
  return attribute_as<std::string>(node, name, std::string(otherwise), "text");
}

double as_decimal(float value) {
  std::array<char, 64> text{};
  const auto written = std::to_chars(text.begin(), text.end(), value);
  double result = static_cast<double>(value);
  std::from_chars(text.begin(), written.ptr, result);
  return result;
}

Result<double> decimal_attribute(const NodeView& node, std::string_view name, float otherwise) {
  NACRE_ASSIGN_OR_RETURN(const double value,
                         attribute_as<double>(node, name, static_cast<double>(otherwise), "a number"));
  return as_decimal(static_cast<float>(value));
}

Status check_layout(const NodeView& node) {
  NACRE_ASSIGN_OR_RETURN(const std::string layout, text_attribute(node, "data_format", "NHWC"));
  if (layout == "NHWC") return {};
  return node_error(node, StatusCode::kUnsupported,
                    fmt::format("expected images of layout NHWC, found {}", layout));
}

Result<Extent2> image_attribute(const NodeView& node, std::string_view name) {
  const std::optional<AttrValue> value = node.attribute(name);
  if (!value.has_value()) return Extent2{1, 1};
  const auto* list = std::get_if<std::vector<int64_t>>(&*value);
  if (list == nullptr || list->size() != 4 || std::ranges::any_of(*list, [](int64_t v) { return v < 1; })) {
    return node_error(node, StatusCode::kCorrupt,
                      fmt::format("attribute {}: expected 4 positive integers", name));
  }
  if (list->front() != 1 || list->back() != 1) {
    return node_error(node, StatusCode::kUnsupported,
                      fmt::format("attribute {} reaches over images or channels", name));
  }
  return Extent2{(*list)[1], (*list)[2]};
}

Result<Padding> padding_attribute(const NodeView& node) {
  NACRE_ASSIGN_OR_RETURN(const std::string padding, text_attribute(node, "padding", ""));
  if (padding == "SAME") return Padding::kSame;
  if (padding == "VALID") return Padding::kValid;
  if (padding == "EXPLICIT") return node_error(node, StatusCode::kUnsupported, "explicit padding");
  return node_error(node, StatusCode::kCorrupt, "attribute padding: expected SAME or VALID");
}

const FoldedTensor* float_input(const NodeView& node, size_t i) {
  if (i >= node.inputs() || node.is_activation(i)) return nullptr;
  const FoldedTensor* value = node.constant(i);
  return value != nullptr && value->floats != nullptr ? value : nullptr;
}

std::optional<float> scalar_input(const NodeView& node, size_t i) {
  const FoldedTensor* value = float_input(node, i);
  if (value == nullptr || !value->variable.empty() || value->values().size() != 1) return std::nullopt;
  return value->values().front();
}

std::optional<size_t> activation_of_two(const NodeView& node) {
  if (node.inputs() != 2) return std::nullopt;
  for (size_t i = 0; i < 2; ++i) {
    if (node.is_activation(i) && float_input(node, 1 - i) != nullptr) return i;
  }
  return std::nullopt;
}

FoldedTensor make_folded(const Shape& shape, std::vector<float> values) {
  auto tensor = std::make_shared<Tensor>(shape);
  std::ranges::copy(values, tensor->data());
  FoldedTensor folded;
  folded.shape = shape;
  folded.floats = std::move(tensor);
  return folded;
}

FoldedTensor filled(const Shape& shape, float value) {
  return make_folded(shape, std::vector<float>(static_cast<size_t>(shape.num_elements()), value));
}

bool is_filled(const FoldedTensor& tensor, float value) {
  return tensor.variable.empty() && tensor.floats != nullptr &&
         std::ranges::all_of(tensor.values(), [value](float v) { return v == value; });
}

std::optional<FoldedTensor> per_channel(const FoldedTensor& value, int64_t channels) {
  const auto count = static_cast<int64_t>(value.values().size());
  if (count != 1 && count != channels) return std::nullopt;
  if (count == 1 && channels != 1) return filled(Shape{channels}, value.values().front());
  if (value.shape.rank() > 0 && value.shape[value.shape.rank() - 1] != count) return std::nullopt;
  FoldedTensor result = value;
  result.shape = Shape{channels};
  return result;
}

Status take_bias_and_activation(RecognizedLayer& layer, int64_t outputs) {
  const NodeView* next = layer.output->only_reader();
  layer.attributes["use_bias"] = false;
  if (next != nullptr && (next->op() == "BiasAdd" || next->op() == "AddV2" || next->op() == "Add")) {
    const std::optional<size_t> sums = activation_of_two(*next);
    if (sums.has_value()) {
      const FoldedTensor& added = *next->constant(1 - *sums);
      const bool each = static_cast<int64_t>(added.values().size()) == outputs;
      const std::optional<FoldedTensor> bias = each ? per_channel(added, outputs) : std::nullopt;
      if (bias.has_value()) {
        if (next->op() == "BiasAdd") NACRE_RETURN_IF_ERROR(check_layout(*next));
        layer.variables["bias"] = *bias;
        layer.attributes["use_bias"] = true;
        extend_layer(layer, *next);
        next = next->only_reader();
      }
    }
  }
  const bool relu = next != nullptr && next->op() == "Relu";
  layer.attributes["activation"] = std::string(relu ? "relu" : "linear");
  if (relu) extend_layer(layer, *next);
  return {};
}

Recognized recognize_pool(const NodeView& node, std::string_view op) {
  if (node.op() != op || node.inputs() != 1 || !node.is_activation(0)) {
    return std::optional<RecognizedLayer>();
  }
  NACRE_RETURN_IF_ERROR(check_layout(node));
  PoolAttrs attrs;
  NACRE_ASSIGN_OR_RETURN(attrs.pool_size, image_attribute(node, "ksize"));
  NACRE_ASSIGN_OR_RETURN(attrs.strides, image_attribute(node, "strides"));
  NACRE_ASSIGN_OR_RETURN(attrs.padding, padding_attribute(node));
  RecognizedLayer layer = begin_layer(node, 0);
  layer.attributes = write_attributes(attrs);
  return std::optional(std::move(layer));
}

}  // namespace nacre
