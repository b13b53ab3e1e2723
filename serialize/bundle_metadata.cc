#include "serialize/bundle_metadata.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "schemas/bundle_generated.h"

namespace nacre {
namespace {

using flatbuffers::FlatBufferBuilder;
using flatbuffers::Offset;
using flatbuffers::uoffset_t;

constexpr size_t kMaxModelName = 255;
constexpr int32_t kMaxOpVersion = 1000000;
/// Nodes name what they read: without a limit of its own, a list of numbers could unfold to many long names.
constexpr size_t kMaxEdges = 4 * Graph::kMaxNodes;

Status corrupt(std::string reason) {
  return Status(StatusCode::kCorrupt, std::move(reason));
}

/// Checks that keys come in ascending order, hence no key twice. `last` is empty before the first.
Status check_order(std::string& last, const std::string& key, std::string_view what) {
  if (!last.empty() && last >= key) {
    return corrupt(fmt::format("{} '{}' comes after '{}': {}", what, key, last,
                               last == key ? "it is there twice" : "not in the order of names"));
  }
  last = key;
  return {};
}

Result<AttrValue> read_value(const fb::Attribute& attribute, const std::string& what,
                             MetadataReader& reader) {
  switch (attribute.value_type()) {
    case fb::AttributeValue::NONE:
      return corrupt(what + " has no value");
    case fb::AttributeValue::BoolValue: {
      const uint8_t value = attribute.value_as_BoolValue()->value();
      if (value > 1) return corrupt(fmt::format("{} is the truth value {}; expected 0 or 1", what, value));
      return AttrValue(value == 1);
    }
    case fb::AttributeValue::IntValue:
      return AttrValue(attribute.value_as_IntValue()->value());
    case fb::AttributeValue::FloatValue: {
      const double value = attribute.value_as_FloatValue()->value();
      if (!std::isfinite(value))
        return corrupt(fmt::format("{} is {}; expected a finite number", what, value));
      return AttrValue(value);
    }
    case fb::AttributeValue::StringValue: {
      std::string value;
      NACRE_RETURN_IF_ERROR(reader.text(*attribute.value_as_StringValue()->value(), what, value));
      return AttrValue(std::move(value));
    }
    case fb::AttributeValue::IntListValue: {
      std::vector<int64_t> value;
      NACRE_RETURN_IF_ERROR(reader.list(*attribute.value_as_IntListValue()->value(), what, value));
      return AttrValue(std::move(value));
    }
  }
  return Status(StatusCode::kUnsupported, fmt::format("{} has a value of the unknown type {}", what,
                                                      static_cast<int>(attribute.value_type())));
}

Result<Node> read_node(const fb::Node& from, size_t index, const std::vector<Node>& before,
                       MetadataReader& reader) {
  Node node;
  NACRE_RETURN_IF_ERROR(reader.name(*from.name(), place("node", index), node.name));
  const std::string what = fmt::format("node '{}'", node.name);
  NACRE_RETURN_IF_ERROR(reader.name(*from.op(), what + ": its op", node.op));
  node.op_version = from.op_version();
  if (node.op_version < 1 || node.op_version > kMaxOpVersion) {
    return corrupt(
        fmt::format("{} has version {} of its op; expected 1 to {}", what, node.op_version, kMaxOpVersion));
  }
  std::string last;
  for (const fb::Attribute* attribute : *from.attributes()) {
    std::string name;
    NACRE_RETURN_IF_ERROR(reader.name(*attribute->name(), what + ": an attribute", name));
    NACRE_RETURN_IF_ERROR(check_order(last, name, what + ": attribute"));
    NACRE_ASSIGN_OR_RETURN(AttrValue value,
                           read_value(*attribute, fmt::format("{}: '{}'", what, name), reader));
    node.attributes.emplace(std::move(name), std::move(value));
  }
  for (const int32_t input : *from.inputs()) {
    if (input < -1 || input >= static_cast<int64_t>(index)) {
      return corrupt(fmt::format("{} reads node {}; expected an earlier one than itself ({}), or -1", what,
                                 input, index));
    }
    node.inputs.emplace_back(input == -1 ? kInputName
                                         : std::string_view(before[static_cast<size_t>(input)].name));
  }
  return node;
}

Result<Graph> read_graph(const flatbuffers::Vector<Offset<fb::Node>>& from, MetadataReader& reader) {
  if (from.size() > Graph::kMaxNodes) {
    return corrupt(fmt::format("has a graph of {} nodes; the most are {}", from.size(), Graph::kMaxNodes));
  }
  std::vector<Node> nodes;
  nodes.reserve(from.size());
  size_t edges = 0;
  for (uoffset_t i = 0; i < from.size(); ++i) {
    edges += from.Get(i)->inputs()->size();
    if (edges > kMaxEdges) {
      return Status(StatusCode::kLimit,
                    fmt::format("has a graph of more than {} edges, the limit", kMaxEdges));
    }
    NACRE_ASSIGN_OR_RETURN(Node node, read_node(*from.Get(i), i, nodes, reader));
    nodes.push_back(std::move(node));
  }
  auto graph = Graph::make(std::move(nodes));
  if (!graph.ok()) return corrupt(graph.status().message());
  return graph;
}

Status read_signature_tensors(const flatbuffers::Vector<Offset<fb::SignatureTensor>>& from,
                              const std::string& what, MetadataReader& reader,
                              std::vector<SignatureTensor>& to) {
  std::set<std::string> names;
  for (const fb::SignatureTensor* tensor : from) {
    SignatureTensor& result = to.emplace_back();
    NACRE_RETURN_IF_ERROR(reader.name(*tensor->name(), what, result.name));
    if (!names.insert(result.name).second)
      return corrupt(fmt::format("{} '{}' is there twice", what, result.name));
    NACRE_RETURN_IF_ERROR(reader.line(*tensor->dtype(), what, result.dtype));
    if (result.dtype != "string" && result.dtype != "float32") {
      return Status(StatusCode::kUnsupported,
                    fmt::format("{} '{}' has the type '{}'; known are string and float32", what, result.name,
                                result.dtype));
    }
    NACRE_RETURN_IF_ERROR(reader.list(*tensor->shape(), what, result.shape));
    const auto is_wrong = [](int64_t dim) { return dim < -1 || dim > Shape::kMaxElements; };
    if (result.shape.size() > static_cast<size_t>(Shape::kMaxRank) ||
        std::ranges::any_of(result.shape, is_wrong)) {
      return corrupt(fmt::format("{} '{}' has an impossible shape", what, result.name));
    }
  }
  return {};
}

Status read_signatures(const fb::Bundle& root, MetadataReader& reader, std::vector<Signature>& to) {
  std::set<std::string> names;
  for (const fb::Signature* from : *root.signatures()) {
    Signature& result = to.emplace_back();
    NACRE_RETURN_IF_ERROR(reader.name(*from->name(), "a signature", result.name));
    if (!names.insert(result.name).second)
      return corrupt(fmt::format("signature '{}' is there twice", result.name));
    const std::string what = fmt::format("signature '{}'", result.name);
    NACRE_RETURN_IF_ERROR(reader.line(*from->method(), what, result.method));
    NACRE_RETURN_IF_ERROR(read_signature_tensors(*from->inputs(), what + ": input", reader, result.inputs));
    NACRE_RETURN_IF_ERROR(
        read_signature_tensors(*from->outputs(), what + ": output", reader, result.outputs));
  }
  return {};
}

Status read_golden(const fb::Bundle& root, MetadataReader& reader, std::vector<GoldenVector>& to) {
  std::set<std::string> names;
  for (const fb::GoldenVector* from : *root.golden()) {
    GoldenVector& result = to.emplace_back();
    NACRE_RETURN_IF_ERROR(reader.name(*from->name(), "a golden vector", result.name));
    const std::string what = fmt::format("golden vector '{}'", result.name);
    if (!names.insert(result.name).second) return corrupt(what + " is there twice");
    NACRE_RETURN_IF_ERROR(reader.spend(from->image()->size(), what));
    const auto* image = reinterpret_cast<const std::byte*>(from->image()->data());
    result.image.assign(image, image + from->image()->size());
    NACRE_RETURN_IF_ERROR(reader.list(*from->prediction(), what, result.prediction));
  }
  return {};
}

/// An AttrValue as the union's type and table.
struct ValueWriter {
  FlatBufferBuilder& builder;
  using Pair = std::pair<fb::AttributeValue, Offset<void>>;

  Pair operator()(bool value) const {
    return {fb::AttributeValue::BoolValue, fb::CreateBoolValue(builder, value ? 1 : 0).Union()};
  }
  Pair operator()(int64_t value) const {
    return {fb::AttributeValue::IntValue, fb::CreateIntValue(builder, value).Union()};
  }
  Pair operator()(double value) const {
    return {fb::AttributeValue::FloatValue, fb::CreateFloatValue(builder, value).Union()};
  }
  Pair operator()(const std::string& value) const {
    const auto text = builder.CreateString(value);
    return {fb::AttributeValue::StringValue, fb::CreateStringValue(builder, text).Union()};
  }
  Pair operator()(const std::vector<int64_t>& value) const {
    const auto list = builder.CreateVector(value);
    return {fb::AttributeValue::IntListValue, fb::CreateIntListValue(builder, list).Union()};
  }
};

auto write_nodes(FlatBufferBuilder& builder, const Graph& graph) {
  std::vector<Offset<fb::Node>> nodes;
  for (size_t i = 0; i < graph.nodes().size(); ++i) {
    const Node& node = graph.nodes()[i];
    std::vector<Offset<fb::Attribute>> attributes;
    for (const auto& [name, value] : node.attributes) {
      const auto name_at = builder.CreateString(name);
      const auto [type, value_at] = std::visit(ValueWriter{builder}, value);
      attributes.push_back(fb::CreateAttribute(builder, name_at, type, value_at));
    }
    const auto name_at = builder.CreateString(node.name);
    const auto op_at = builder.CreateString(node.op);
    const auto attributes_at = builder.CreateVector(attributes);
    const auto inputs_at = builder.CreateVector(graph.producers()[i]);
    nodes.push_back(fb::CreateNode(builder, name_at, op_at, node.op_version, attributes_at, inputs_at));
  }
  return builder.CreateVector(nodes);
}

auto write_signature_tensors(FlatBufferBuilder& builder, const std::vector<SignatureTensor>& tensors) {
  std::vector<Offset<fb::SignatureTensor>> result;
  for (const SignatureTensor& tensor : tensors) {
    const auto name_at = builder.CreateString(tensor.name);
    const auto dtype_at = builder.CreateString(tensor.dtype);
    result.push_back(
        fb::CreateSignatureTensor(builder, name_at, dtype_at, builder.CreateVector(tensor.shape)));
  }
  return builder.CreateVector(result);
}

auto write_signatures(FlatBufferBuilder& builder, const std::vector<Signature>& signatures) {
  std::vector<Offset<fb::Signature>> result;
  for (const Signature& signature : signatures) {
    const auto name_at = builder.CreateString(signature.name);
    const auto method_at = builder.CreateString(signature.method);
    const auto inputs_at = write_signature_tensors(builder, signature.inputs);
    const auto outputs_at = write_signature_tensors(builder, signature.outputs);
    result.push_back(fb::CreateSignature(builder, name_at, method_at, inputs_at, outputs_at));
  }
  return builder.CreateVector(result);
}

auto write_golden(FlatBufferBuilder& builder, const std::vector<GoldenVector>& golden) {
  std::vector<Offset<fb::GoldenVector>> result;
  for (const GoldenVector& vector : golden) {
    const auto name_at = builder.CreateString(vector.name);
    const auto image_at =
        builder.CreateVector(reinterpret_cast<const uint8_t*>(vector.image.data()), vector.image.size());
    result.push_back(
        fb::CreateGoldenVector(builder, name_at, image_at, builder.CreateVector(vector.prediction)));
  }
  return builder.CreateVector(result);
}

auto write_provenance(FlatBufferBuilder& builder, const std::map<std::string, std::string>& provenance) {
  std::vector<Offset<fb::Provenance>> result;
  for (const auto& [key, value] : provenance) {
    const auto key_at = builder.CreateString(key);
    result.push_back(fb::CreateProvenance(builder, key_at, builder.CreateString(value)));
  }
  return builder.CreateVector(result);
}

}  // namespace

Result<BundleMetadata> read_bundle_metadata(std::span<const std::byte> bytes, uint64_t blob_bytes) {
  const auto* root = verified_root<fb::Bundle>(bytes, fb::BundleIdentifier());
  if (root == nullptr) return corrupt("has metadata that is no valid FlatBuffer of a bundle");
  MetadataReader reader(bytes.size());
  BundleMetadata result;
  Bundle& bundle = result.bundle;
  NACRE_RETURN_IF_ERROR(reader.line(*root->name(), "the model's name", bundle.name));
  if (bundle.name.empty() || bundle.name.size() > kMaxModelName || bundle.name.starts_with('.') ||
      bundle.name.find('/') != std::string::npos) {
    return corrupt(fmt::format("the model's name is '{}'; expected 1 to {} bytes without '/', not '.' first",
                               bundle.name.substr(0, kMaxModelName), kMaxModelName));
  }
  NACRE_ASSIGN_OR_RETURN(result.tensors, read_tensor_table(*root->tensors(), blob_bytes, reader));
  NACRE_ASSIGN_OR_RETURN(bundle.graph, read_graph(*root->nodes(), reader));
  NACRE_ASSIGN_OR_RETURN(bundle.contract, read_contract(*root->contract(), reader));
  NACRE_RETURN_IF_ERROR(read_signatures(*root, reader, bundle.signatures));
  NACRE_RETURN_IF_ERROR(read_golden(*root, reader, bundle.golden));
  std::string last;
  for (const fb::Provenance* from : *root->provenance()) {
    std::string key;
    NACRE_RETURN_IF_ERROR(reader.name(*from->key(), "a provenance entry", key));
    NACRE_RETURN_IF_ERROR(check_order(last, key, "provenance entry"));
    NACRE_RETURN_IF_ERROR(
        reader.text(*from->value(), fmt::format("provenance '{}'", key), bundle.provenance[key]));
  }
  return result;
}

flatbuffers::DetachedBuffer write_bundle_metadata(const Bundle& bundle) {
  FlatBufferBuilder builder;
  // Defaults are written out, so that -0.0 stays itself and a file says all it means.
  builder.ForceDefaults(true);
  const auto name_at = builder.CreateString(bundle.name);
  const auto tensors_at = write_tensor_table(builder, bundle.variables);
  const auto nodes_at = write_nodes(builder, bundle.graph);
  const auto contract_at = write_contract(builder, bundle.contract);
  const auto signatures_at = write_signatures(builder, bundle.signatures);
  const auto golden_at = write_golden(builder, bundle.golden);
  const auto provenance_at = write_provenance(builder, bundle.provenance);
  fb::FinishBundleBuffer(builder, fb::CreateBundle(builder, name_at, tensors_at, nodes_at, contract_at,
                                                   signatures_at, golden_at, provenance_at));
  return builder.Release();
}

}  // namespace nacre
