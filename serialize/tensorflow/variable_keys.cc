#include "serialize/tensorflow/variable_keys.h"

#include <fmt/format.h>
#include <google/protobuf/stubs/logging.h>

#include <optional>
#include <utility>
#include <vector>

#include "serialize/tensorflow/graph_frames.h"

namespace nacre {
namespace {

using Keys = std::map<std::string, std::string, std::less<>>;
using tensorflow::SavedObjectGraph;
using tensorflow::TrackableObjectGraph;

constexpr std::string_view kValue = "VARIABLE_VALUE";

Status corrupt(const std::string& reason) {
  return {StatusCode::kCorrupt, fmt::format("{}: {}", kObjectGraphKey, reason)};
}

/// For each object of the graph, the same one in the bundle's list, or -1: the roots are the same, and so are
/// children of the same name.
std::vector<int> pair_objects(const SavedObjectGraph& graph, const TrackableObjectGraph& bundle) {
  std::vector<int> pairs(static_cast<size_t>(graph.nodes_size()), -1);
  if (pairs.empty() || bundle.nodes_size() == 0) return pairs;
  pairs[0] = 0;
  std::vector<int> next{0};
  while (!next.empty()) {
    const int node = next.back();
    next.pop_back();
    std::map<std::string_view, int> children;
    for (const auto& child : bundle.nodes(pairs[static_cast<size_t>(node)]).children()) {
      children.emplace(child.local_name(), child.node_id());
    }
    for (const auto& child : graph.nodes(node).children()) {
      const auto same = children.find(child.local_name());
      if (same == children.end() || child.node_id() < 0 || child.node_id() >= graph.nodes_size()) continue;
      if (same->second < 0 || same->second >= bundle.nodes_size()) continue;
      int& pair = pairs[static_cast<size_t>(child.node_id())];
      if (pair != -1) continue;
      pair = same->second;
      next.push_back(child.node_id());
    }
  }
  return pairs;
}

/// The key of a variable's elements; nothing for other objects.
std::optional<std::string> key_of(const TrackableObjectGraph::TrackableObject& object) {
  for (const auto& attribute : object.attributes()) {
    if (attribute.name() == kValue) return attribute.checkpoint_key();
  }
  return std::nullopt;
}

}  // namespace

Result<Keys> find_variable_keys(const tensorflow::MetaGraphDef& meta, const std::string& objects) {
  Keys keys;
  if (objects.empty()) return keys;
  // Protobuf would print what it finds wrong.
  const google::protobuf::LogSilencer silence;
  TrackableObjectGraph bundle;
  if (!bundle.ParseFromString(objects)) return corrupt("is damaged");
  const SavedObjectGraph& graph = meta.object_graph_def();
  const std::vector<int> pairs = pair_objects(graph, bundle);
  for (const tensorflow::NodeDef& node : meta.graph_def().node()) {
    const auto f = node.attr().find("f");
    if (f == node.attr().end()) continue;
    const auto function = graph.concrete_functions().find(f->second.func().name());
    if (function == graph.concrete_functions().end()) continue;
    // A function's last arguments are what it is bound to.
    const auto& bound = function->second.bound_inputs();
    const int first = data_inputs(node) - bound.size();
    for (int i = 0; first >= 0 && i < bound.size(); ++i) {
      const int object = bound[i];
      if (object < 0 || object >= graph.nodes_size() || !graph.nodes(object).has_variable()) continue;
      const int pair = pairs[static_cast<size_t>(object)];
      if (pair < 0) continue;
      const std::optional<std::string> key = key_of(bundle.nodes(pair));
      if (key.has_value()) keys.emplace(*data_input(node, first + i), *key);
    }
  }
  return keys;
}

}  // namespace nacre
