#include "serialize/tensorflow/flat_graph.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "serialize/tensorflow/graph_frames.h"
#include "serialize/tensorflow/image_loops.h"

namespace nacre {
namespace {

using tensorflow::NodeDef;

// TensorFlow 2.21's. Graphs that only a later one can read are refused.
constexpr int kGraphVersion = 2474;

Status at_node(const NodeDef& node, StatusCode code, const std::string& reason) {
  return {code, describe(node) + ": " + reason};
}

/// Makes the nodes of a FlatGraph, backwards from its output.
class Flattener {
 public:
  Flattener(const tensorflow::MetaGraphDef& meta, FlatGraph& graph) : frames_(meta), graph_(graph) {}

  Status run(const std::string& input, const std::string& output) {
    NACRE_RETURN_IF_ERROR(frames_.prepare());
    NACRE_ASSIGN_OR_RETURN(const TensorPlace from, frames_.look_up(0, input));
    if (from.port != 0) return at_node(*from.node, StatusCode::kUnsupported, "the signature's input");
    frames_.stop = from.node;
    NACRE_ASSIGN_OR_RETURN(const TensorPlace to, frames_.resolve(0, output));
    NACRE_ASSIGN_OR_RETURN(const FlatNode::Source source, source_of(to));
    if (source.port != 0) return at_node(*to.node, StatusCode::kUnsupported, "is read at another output");
    graph_.output = source.node;
    graph_.output->output = true;
    while (!work_.empty()) {
      const auto [node, frame] = work_.back();
      work_.pop_back();
      NACRE_RETURN_IF_ERROR(expand(*node, frame));
    }
    NACRE_RETURN_IF_ERROR(sort());
    if (graph_.input != nullptr) return {};
    return {StatusCode::kUnsupported, "the signature's output does not depend on its input"};
  }

 private:
  Result<FlatNode::Source> source_of(const TensorPlace& place) {
    // An argument of MapDefun's function: the call stands for it.
    const NodeDef* def = place.node != nullptr ? place.node : frames_.frame(place.frame).call;
    if (place.node == nullptr) return element_source(place, *def);
    NACRE_ASSIGN_OR_RETURN(FlatNode * node, make_node(place.frame, *def));
    return FlatNode::Source{node, place.port};
  }

  Result<FlatNode*> make_node(int frame, const NodeDef& def) {
    const auto [place, made] = made_.try_emplace({frame, &def}, nullptr);
    if (!made) return place->second;
    if (graph_.storage.size() >= FlatGraph::kMaxNodes) {
      return Status(StatusCode::kLimit, fmt::format("more than {} nodes", FlatGraph::kMaxNodes));
    }
    FlatNode& node = graph_.storage.emplace_back();
    node.def = &def;
    node.op_name = def.op();
    place->second = &node;
    work_.emplace_back(&node, frame);
    return &node;
  }

  /// What argument `place` of MapDefun's function is: an image's element, or a captured tensor.
  Result<FlatNode::Source> element_source(const TensorPlace& place, const NodeDef& call) {
    const int parent = frames_.frame(place.frame).parent;
    const std::string* input = data_input(call, place.argument);
    if (input == nullptr) return at_node(call, StatusCode::kCorrupt, "has too few inputs for its function");
    NACRE_ASSIGN_OR_RETURN(const TensorPlace whole, frames_.resolve(parent, *input));
    const auto types = call.attr().find("Targuments");
    const int mapped = types == call.attr().end() ? 0 : types->second.list().type_size();
    if (place.argument >= mapped) return source_of_resolved(whole);
    const auto [known, made] = made_.try_emplace({place.frame, &call}, nullptr);
    if (made) {
      FlatNode& node = graph_.storage.emplace_back();
      node.def = &call;
      node.op_name = kElementOp;
      known->second = &node;
      NACRE_ASSIGN_OR_RETURN(const FlatNode::Source source, source_of_resolved(whole));
      node.sources.push_back(source);
    }
    return FlatNode::Source{known->second, 0};
  }

  Result<FlatNode::Source> source_of_resolved(const TensorPlace& place) {
    if (place.node == nullptr) {
      return at_node(*frames_.frame(place.frame).call, StatusCode::kUnsupported, "loops inside loops");
    }
    return source_of(place);
  }

  Status add_source(FlatNode& node, int frame, const std::string& input) {
    const auto place = frames_.resolve(frame, input);
    if (!place.ok()) return place.status().at(describe(*node.def));
    NACRE_ASSIGN_OR_RETURN(const FlatNode::Source source, source_of(*place));
    node.sources.push_back(source);
    return {};
  }

  Status expand(FlatNode& node, int frame) {
    const NodeDef& def = *node.def;
    if (frame == 0 && &def == frames_.stop) {
      node.op_name = kInputOp;
      graph_.input = &node;
      return {};
    }
    if (def.op() == "Merge" || def.op() == "NextIteration") {
      return at_node(def, StatusCode::kUnsupported, "a loop that is none over images, or a condition");
    }
    NACRE_ASSIGN_OR_RETURN(const auto image_loop, find_image_loop(frames_, frame, def));
    if (image_loop.has_value()) {
      node.op_name = image_loop->op;
      NACRE_RETURN_IF_ERROR(add_source(node, image_loop->frame, image_loop->input));
      // The shape of its elements, which may say how large the images are.
      const std::string* shape = def.op() == "TensorListStack" ? data_input(def, 1) : nullptr;
      return shape == nullptr ? Status() : add_source(node, frame, *shape);
    }
    for (const std::string& input : def.input()) {
      if (!input.starts_with('^')) NACRE_RETURN_IF_ERROR(add_source(node, frame, input));
    }
    return {};
  }

  /// Kahn's algorithm; also finds who reads whom, and what depends on the input.
  Status sort() {
    std::map<const FlatNode*, size_t> missing;
    std::map<const FlatNode*, std::vector<FlatNode*>> next;
    std::vector<FlatNode*> ready;
    for (FlatNode& node : graph_.storage) {
      missing[&node] = node.sources.size();
      if (node.sources.empty()) ready.push_back(&node);
      for (const FlatNode::Source& source : node.sources) {
        next[source.node].push_back(&node);
        if (node.op_name != "Shape") source.node->reading.push_back(&node);
      }
    }
    while (!ready.empty()) {
      FlatNode* node = ready.back();
      ready.pop_back();
      node->depends_on_input =
          node == graph_.input || std::ranges::any_of(node->sources, [](const auto& source) {
            return source.node->depends_on_input;
          });
      graph_.nodes.push_back(node);
      for (FlatNode* reader : next[node]) {
        if (--missing[reader] == 0) ready.push_back(reader);
      }
    }
    if (graph_.nodes.size() == graph_.storage.size()) return {};
    for (const FlatNode& node : graph_.storage) {
      if (missing[&node] > 0) return at_node(*node.def, StatusCode::kCorrupt, "is part of a cycle");
    }
    return {};
  }

  GraphFrames frames_;
  FlatGraph& graph_;
  std::map<std::pair<int, const NodeDef*>, FlatNode*> made_;
  std::vector<std::pair<FlatNode*, int>> work_;
};

}  // namespace

std::string FlatNode::described() const {
  return describe(*def);
}

std::optional<AttrValue> FlatNode::attribute(std::string_view name) const {
  const auto found = def->attr().find(std::string(name));
  if (found == def->attr().end()) return std::nullopt;
  const tensorflow::AttrValue& value = found->second;
  switch (value.value_case()) {
    case tensorflow::AttrValue::kB:
      return value.b();
    case tensorflow::AttrValue::kI:
      return value.i();
    case tensorflow::AttrValue::kF:
      return static_cast<double>(value.f());
    case tensorflow::AttrValue::kS:
      return value.s();
    case tensorflow::AttrValue::kType:
      return static_cast<int64_t>(value.type());
    case tensorflow::AttrValue::kList:
      return std::vector<int64_t>(value.list().i().begin(), value.list().i().end());
    default:
      return std::nullopt;
  }
}

Result<std::unique_ptr<FlatGraph>> FlatGraph::make(const tensorflow::MetaGraphDef& meta,
                                                   const std::string& signature) {
  const int needed = meta.graph_def().versions().min_consumer();
  if (needed > kGraphVersion) {
    return Status(StatusCode::kUnsupported,
                  fmt::format("asks for a reader of version {}, this is {}", needed, kGraphVersion));
  }
  const auto found = meta.signature_def().find(signature);
  if (found == meta.signature_def().end()) {
    return Status(StatusCode::kBadData, fmt::format("there is no signature {}", signature));
  }
  auto graph = std::make_unique<FlatGraph>();
  graph->signature = &found->second;
  const auto& inputs = found->second.inputs();
  const auto& outputs = found->second.outputs();
  if (inputs.size() != 1 || outputs.size() != 1) {
    return Status(StatusCode::kUnsupported,
                  fmt::format("signature {}: expected one input and one output, found {} and {}", signature,
                              inputs.size(), outputs.size()));
  }
  Flattener flattener(meta, *graph);
  NACRE_RETURN_IF_ERROR(flattener.run(inputs.begin()->second.name(), outputs.begin()->second.name()));
  return graph;
}

}  // namespace nacre
