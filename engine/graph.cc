#include "engine/graph.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <queue>

namespace nacre {
namespace {

Status bad(std::string message) {
  return {StatusCode::kBadData, std::move(message)};
}

std::string quoted(std::string_view name) {
  return name.size() <= 64 ? fmt::format("{:?}", name) : fmt::format("{:?}...", name.substr(0, 64));
}

}  // namespace

bool is_valid_name(std::string_view name) {
  if (name.empty() || name.size() > 255 || name.front() == '.') return false;
  return std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.';
  });
}

Result<Graph> Graph::make(std::vector<Node> nodes) {
  if (nodes.empty()) return bad("a graph without nodes");
  if (nodes.size() > kMaxNodes) {
    return Status(StatusCode::kLimit,
                  fmt::format("a graph of {} nodes (the most is {})", nodes.size(), kMaxNodes));
  }
  const int count = static_cast<int>(nodes.size());
  std::map<std::string_view, int> index{{kInputName, -1}};
  for (int i = 0; i < count; ++i) {
    const Node& node = nodes[static_cast<size_t>(i)];
    if (!is_valid_name(node.name)) {
      return bad(fmt::format("node {}: {} is not a valid name (letters, digits, '_', '-', '.')", i,
                             quoted(node.name)));
    }
    if (node.name == kInputName)
      return bad(fmt::format("node {}: the name \"input\" is the graph's own input", i));
    if (!index.try_emplace(node.name, i).second)
      return bad(fmt::format("two nodes are named {}", quoted(node.name)));
  }

  std::vector<std::vector<int>> producers(nodes.size());
  std::vector<std::vector<int>> readers(nodes.size());
  std::vector<int> waiting(nodes.size(), 0);
  for (int i = 0; i < count; ++i) {
    const Node& node = nodes[static_cast<size_t>(i)];
    if (node.inputs.empty()) return bad(fmt::format("node {} has no input", quoted(node.name)));
    for (const std::string& input : node.inputs) {
      const auto found = index.find(input);
      if (found == index.end()) {
        return bad(fmt::format("node {} reads {}, which does not exist", quoted(node.name), quoted(input)));
      }
      if (found->second == i) return bad(fmt::format("node {} reads itself", quoted(node.name)));
      producers[static_cast<size_t>(i)].push_back(found->second);
      if (found->second >= 0) {
        readers[static_cast<size_t>(found->second)].push_back(i);
        ++waiting[static_cast<size_t>(i)];
      }
    }
  }

  // Kahn's algorithm; among the nodes that are ready the first given comes first, so a valid order is kept.
  std::priority_queue<int, std::vector<int>, std::greater<>> ready;
  std::vector<int> sinks;
  for (int i = 0; i < count; ++i) {
    if (waiting[static_cast<size_t>(i)] == 0) ready.push(i);
    if (readers[static_cast<size_t>(i)].empty()) sinks.push_back(i);
  }
  std::vector<int> order;
  while (!ready.empty()) {
    const int i = ready.top();
    ready.pop();
    order.push_back(i);
    for (const int reader : readers[static_cast<size_t>(i)]) {
      if (--waiting[static_cast<size_t>(reader)] == 0) ready.push(reader);
    }
  }
  if (order.size() != nodes.size()) {
    const auto stuck = std::ranges::find_if(waiting, [](int w) { return w > 0; });
    return bad(fmt::format("the graph has a cycle through or before node {}",
                           quoted(nodes[static_cast<size_t>(stuck - waiting.begin())].name)));
  }
  if (sinks.size() != 1) {
    return bad(fmt::format("the graph has {} outputs, expected one: no node reads {} and {}", sinks.size(),
                           quoted(nodes[static_cast<size_t>(sinks[0])].name),
                           quoted(nodes[static_cast<size_t>(sinks[1])].name)));
  }
  // The one sink may stand anywhere in the order when the rest is sorted; it reads all others, so it must be
  // the last.
  std::vector<int> place(nodes.size());
  for (size_t i = 0; i < order.size(); ++i) place[static_cast<size_t>(order[i])] = static_cast<int>(i);
  Graph graph;
  for (const int i : order) {
    std::vector<int> sources;
    for (const int producer : producers[static_cast<size_t>(i)]) {
      sources.push_back(producer < 0 ? -1 : place[static_cast<size_t>(producer)]);
    }
    graph.producers_.push_back(std::move(sources));
    graph.nodes_.push_back(std::move(nodes[static_cast<size_t>(i)]));
  }
  return graph;
}

Result<Graph> redraw_for_prediction(const Graph& graph, const Registry& registry) {
  std::vector<Node> nodes;
  // What stands in for each node: its own name, or, for a node left out, what it reads.
  std::map<std::string, std::string, std::less<>> stand_in{
      {std::string(kInputName), std::string(kInputName)}};
  bool has_softmax = false;
  for (const Node& node : graph.nodes()) {
    const OpDef* op = registry.find(node.op);
    if (op == nullptr) {
      return Status(StatusCode::kUnsupported, fmt::format("node {:?}: unknown op {:?}; known are {}",
                                                          node.name, node.op, registry.names()));
    }
    if (op->training_only) {
      stand_in[node.name] = stand_in[node.inputs.front()];
      continue;
    }
    Node copy = node;
    for (std::string& input : copy.inputs) input = stand_in[input];
    stand_in[node.name] = node.name;
    has_softmax = node.op == "Softmax";  // of the last node kept: the output
    nodes.push_back(std::move(copy));
  }
  if (nodes.empty()) return bad("nothing is left of the graph for prediction");
  if (!has_softmax) {
    Node softmax;
    softmax.name = kPredictionName;
    softmax.op = "Softmax";
    softmax.inputs = {stand_in[graph.output().name]};
    nodes.push_back(std::move(softmax));
  }
  return Graph::make(std::move(nodes));
}

}  // namespace nacre
