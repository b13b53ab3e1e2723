#include "serialize/tensorflow/layer_recognition.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "engine/shape_text.h"
#include "serialize/tensorflow/layer_names.h"

namespace nacre {
namespace {

Status at(const NodeView& node, StatusCode code, const std::string& reason) {
  return {code, fmt::format("node \"{}\" ({}): {}", node.name(), node.op(), reason)};
}

FlatNode& flat(const NodeView& node) {
  return const_cast<FlatNode&>(static_cast<const FlatNode&>(node));
}

struct Match {
  const OpDef* op = nullptr;
  RecognizedLayer layer;
  std::vector<int> producers;  ///< of the layer's inputs
};

/// [1, 1, 1, C]
bool is_one_position(const Shape& shape) {
  return shape.rank() == 4 && shape[1] == 1 && shape[2] == 1;
}

/// True for inputs that TensorFlow's op takes, though nacre's layer does not.
bool fits_in_tensorflow(const OpDef& op, const std::vector<Shape>& inputs) {
  if (op.name == "Softmax") return true;
  if (op.name != "Add") return false;
  // Repeated along extents of 1.
  for (const Shape& a : inputs) {
    for (int i = 0; i < std::min(a.rank(), inputs[0].rank()); ++i) {
      const int64_t left = a[a.rank() - 1 - i];
      const int64_t right = inputs[0][inputs[0].rank() - 1 - i];
      if (left != right && left != 1 && right != 1) return false;
    }
  }
  return true;
}

class Recognizer {
 public:
  Recognizer(FlatGraph& graph, ConstantFolder& folder, const Registry& registry)
      : graph_(graph), folder_(folder), registry_(registry) {}

  Result<RecognizedNetwork> run(const ImageInput& input, const Shape& shape) {
    FlatNode& head = *input.head;
    head.settled_shape = shape;
    producers_[&head] = kHead;
    const std::set<const FlatNode*> before = ancestors_of(head);
    const std::set<const FlatNode*> batching(input.batching.begin(), input.batching.end());
    for (FlatNode* node : graph_.nodes) {
      if (!node->depends_on_input || before.contains(node) || covered_.contains(node)) continue;
      if (batching.contains(node)) {
        pass_on(*node, *node->sources[0].node);
        continue;
      }
      NACRE_RETURN_IF_ERROR(folder_.fold(*node));
      if (!node->values.empty()) {
        node->depends_on_input = false;  // as far as values go: the extents of a shape
        continue;
      }
      NACRE_ASSIGN_OR_RETURN(std::optional<Match> match, recognize(*node));
      if (match.has_value()) NACRE_RETURN_IF_ERROR(add(*std::move(match)));
    }
    const auto last = producers_.find(graph_.output);
    if (last == producers_.end()) return unrecognized(before);
    if (last->second == kHead) return at(*graph_.output, StatusCode::kUnsupported, "there is no network");
    NACRE_RETURN_IF_ERROR(finish(last->second));
    return build();
  }

 private:
  static constexpr int kHead = -1;
  static constexpr int64_t kMaxElements = int64_t{1} << 31;

  static std::set<const FlatNode*> ancestors_of(const FlatNode& head) {
    std::set<const FlatNode*> found{&head};
    std::vector<const FlatNode*> next{&head};
    while (!next.empty()) {
      const FlatNode* node = next.back();
      next.pop_back();
      for (const FlatNode::Source& source : node->sources) {
        if (found.insert(source.node).second) next.push_back(source.node);
      }
    }
    return found;
  }

  /// The layer with the most nodes of those that begin here and read what is known.
  Result<std::optional<Match>> recognize(const FlatNode& node) {
    std::optional<Match> best;
    Status refused;
    if (!reads_a_layer(node)) return best;
    for (const OpDef& op : registry_.all()) {
      if (op.from_tensorflow == nullptr) continue;
      auto found = op.from_tensorflow(node);
      if (!found.ok()) {
        refused = found.status();
        continue;
      }
      if (!found->has_value()) continue;
      RecognizedLayer layer = **std::move(found);
      if (best.has_value() && layer.covered.size() <= best->layer.covered.size()) continue;
      if (reads_layers(layer)) best = Match{&op, std::move(layer), {}};
    }
    if (!best.has_value() && !refused.ok()) return refused;
    return best;
  }

  /// Layers begin at nodes that do, and at no others.
  bool reads_a_layer(const FlatNode& node) const {
    return std::ranges::any_of(node.sources, [&](const FlatNode::Source& source) {
      return source.port == 0 && producers_.contains(source.node);
    });
  }

  /// True when all that the layer reads is the first output of a layer.
  bool reads_layers(const RecognizedLayer& layer) const {
    const auto is_layer = [&](const NodeView* node) { return producers_.contains(&flat(*node)); };
    if (!std::ranges::all_of(layer.inputs, is_layer)) return false;
    for (const NodeView* node : layer.covered) {
      for (size_t i = 0; i < node->inputs(); ++i) {
        if (is_layer(&node->input(i)) && node->input_port(i) != 0) return false;
      }
    }
    return true;
  }

  /// `node` is what `of` is, if that is a layer.
  void pass_on(FlatNode& node, const FlatNode& of) {
    const auto known = producers_.find(&of);
    if (known == producers_.end()) return;
    covered_.insert(&node);
    node.settled_shape = of.settled_shape;
    producers_[&node] = known->second;
  }

  /// A Flatten of what `producer` gives, for the output of `node`; its index.
  Result<int> add_flatten(const NodeView& node, int producer) {
    const OpDef* op = registry_.find("Flatten");
    if (op == nullptr) return at(node, StatusCode::kInternal, "there is no Flatten");
    Match flatten{op, {}, {producer}};
    flatten.layer.output = &node;
    matches_.push_back(std::move(flatten));
    return static_cast<int>(matches_.size()) - 1;
  }

  /// Makes the output, of `producer`, a row for each image.
  Status finish(int producer) {
    FlatNode& output = *graph_.output;
    const Shape& shape = *output.settled_shape;
    const bool softmax = matches_[static_cast<size_t>(producer)].op->name == "Softmax";
    if (is_one_position(shape)) {
      NACRE_ASSIGN_OR_RETURN(producers_[&output], add_flatten(output, producer));
    } else if (shape.rank() != 2) {
      return at(output, StatusCode::kUnsupported,
                fmt::format("expected an output [N, classes], found {}", batch_shape(shape)));
    }
    // A softmax is one of nacre's, of one class; any other number is none of a classifier's.
    if (shape[shape.rank() - 1] >= 2 || softmax) return {};
    return at(output, StatusCode::kUnsupported, "ends in one number, expected scores of two classes or more");
  }

  Status add(Match match) {
    RecognizedLayer& layer = match.layer;
    FlatNode& output = flat(*layer.output);
    for (const NodeView* node : layer.covered) covered_.insert(&flat(*node));
    std::vector<Shape> shapes;
    for (const NodeView* input : layer.inputs) shapes.push_back(*input->shape());
    NACRE_RETURN_IF_ERROR(count_elements(output, layer));
    if (layer.identity) {
      pass_on(output, flat(*layer.inputs[0]));
      return {};
    }
    for (const NodeView* input : layer.inputs) match.producers.push_back(producers_[&flat(*input)]);
    if (match.op->name == "Softmax" && is_one_position(shapes[0])) {
      NACRE_ASSIGN_OR_RETURN(match.producers[0], add_flatten(output, match.producers[0]));
      shapes[0] = Shape{1, shapes[0][3]};
    }
    const AttrMap* attributes = &layer.attributes;
    OperatorRequest request;
    request.node_name = output.name();
    request.attributes = std::span(&attributes, 1);
    request.inputs = shapes;
    const auto made = match.op->create(request);
    if (!made.ok()) {
      const bool lacking = fits_in_tensorflow(*match.op, shapes);
      return at(output, lacking ? StatusCode::kUnsupported : StatusCode::kCorrupt, made.status().message());
    }
    const OperatorInfo& info = (*made)->info();
    NACRE_RETURN_IF_ERROR(check_variables(output, info, layer));
    if (layer.expected_row != 0 && info.output.elements_per_row() != layer.expected_row) {
      return at(output, StatusCode::kCorrupt,
                fmt::format("expected {} elements of each image, found {}", layer.expected_row,
                            info.output.elements_per_row()));
    }
    output.settled_shape = info.output;
    producers_[&output] = static_cast<int>(matches_.size());
    matches_.push_back(std::move(match));
    return {};
  }

  /// Layers may share variables, and make some of a single number: small files must not become huge.
  Status count_elements(const FlatNode& node, const RecognizedLayer& layer) {
    for (const auto& [name, value] : layer.variables) {
      elements_ += value.shape.num_elements();
      // What nobody else holds was made for this layer.
      if (value.variable.empty() || value.floats.use_count() == 1) computed_ += value.shape.num_elements();
    }
    if (elements_ <= kMaxElements && computed_ <= ConstantFolder::kMaxElements) return {};
    return at(
        node, StatusCode::kLimit,
        fmt::format("the layers up to here have {} elements of variables, {} of them constants; the limits "
                    "are {} and {}",
                    elements_, computed_, kMaxElements, ConstantFolder::kMaxElements));
  }

  static Status check_variables(const FlatNode& node, const OperatorInfo& info,
                                const RecognizedLayer& layer) {
    for (const VariableSpec& spec : info.variables) {
      const auto found = layer.variables.find(spec.name);
      if (found == layer.variables.end()) return at(node, StatusCode::kInternal, "lacks " + spec.name);
      if (found->second.shape != spec.shape) {
        return at(node, StatusCode::kCorrupt,
                  fmt::format("{}: expected the shape {}, found {}", spec.name, spec.shape.to_string(),
                              found->second.shape.to_string()));
      }
    }
    return {};
  }

  static bool draws(const FlatNode& node) { return node.op().find("Random") != std::string_view::npos; }

  static Status drawn(const FlatNode& node) {
    return at(
        node, StatusCode::kUnsupported,
        "draws random numbers, so that no two calls of the graph answer alike; Keras's model.export keeps "
        "layers such as RandomFlip: export the model without them");
  }

  /// The first node that stands in the way, or what it reads and cannot be told.
  Status unrecognized(const std::set<const FlatNode*>& before) const {
    for (const FlatNode* node : graph_.nodes) {
      if (!node->depends_on_input || before.contains(node) || covered_.contains(node)) continue;
      if (draws(*node)) return drawn(*node);
      for (size_t i = 0; i < node->inputs(); ++i) {
        const FlatNode* input = &node->input(i);
        while (!input->depends_on_input && input->values.empty()) {
          if (draws(*input)) return drawn(*input);
          const auto untold = std::ranges::find_if(input->sources, [](const FlatNode::Source& source) {
            return !source.node->depends_on_input && source.node->values.empty();
          });
          if (untold == input->sources.end()) {
            return at(*input, StatusCode::kUnsupported, "is an op that nacre lacks; nothing of it is run");
          }
          input = untold->node;
        }
      }
      return at(*node, StatusCode::kUnsupported,
                "is an op that nacre lacks, or one that it has in another form; nothing of it is run");
    }
    return at(*graph_.output, StatusCode::kUnsupported, "reads an output that no layer has");
  }

  /// The scope of the layer's variables in the foreign graph; empty when it has none.
  static std::string scope_of(const RecognizedLayer& layer) {
    for (const std::string_view first : {"kernel", "gamma", "beta", "moving_mean"}) {
      const auto found = layer.variables.find(std::string(first));
      if (found != layer.variables.end() && !found->second.variable.empty()) {
        return scope_of_variable(found->second.variable);
      }
    }
    return {};
  }

  Result<RecognizedNetwork> build() {
    std::vector<std::string> scopes;
    std::vector<std::string> ends;
    for (const Match& match : matches_) {
      std::string scope = scope_of(match.layer);
      if (!scope.empty()) scopes.push_back(std::move(scope));
      ends.emplace_back(match.layer.output->name());
    }
    LayerNames names(scopes, ends);
    std::vector<std::string> given(matches_.size());
    // Scopes first: they are what variables are called by.
    for (size_t i = 0; i < matches_.size(); ++i) {
      const std::string scope = scope_of(matches_[i].layer);
      if (!scope.empty()) given[i] = names.of_scope(scope);
    }
    const auto last = static_cast<size_t>(producers_[graph_.output]);
    if (given[last].empty() && matches_[last].op->name == "Softmax") given[last] = kPredictionName;
    for (const bool plain : {true, false}) {
      for (size_t i = 0; i < matches_.size(); ++i) {
        if (given[i].empty() && names.is_plain(ends[i]) == plain) given[i] = names.of_node(ends[i]);
      }
    }
    RecognizedNetwork network;
    for (size_t i = 0; i < matches_.size(); ++i) {
      const Match& match = matches_[i];
      Node node;
      node.name = given[i];
      node.op = match.op->name;
      node.op_version = match.op->version;
      auto attributes = match.op->normalize(match.layer.attributes);
      if (!attributes.ok()) return attributes.status().at(node.name);
      node.attributes = *std::move(attributes);
      for (const int producer : match.producers) {
        node.inputs.push_back(producer == kHead ? std::string(kInputName)
                                                : given[static_cast<size_t>(producer)]);
      }
      for (const auto& [name, value] : match.layer.variables) {
        NACRE_RETURN_IF_ERROR(network.variables.add(
            node.name + "/" + name,
            Tensor(value.shape, value.floats->data(), std::const_pointer_cast<Tensor>(value.floats))));
      }
      network.nodes.push_back(std::move(node));
    }
    return network;
  }

  FlatGraph& graph_;
  ConstantFolder& folder_;
  const Registry& registry_;
  std::vector<Match> matches_;
  std::map<const FlatNode*, int> producers_;  ///< index into matches_ of what a node's output is, or kHead
  std::set<const FlatNode*> covered_;
  int64_t elements_ = 0;  ///< of the layers' variables
  int64_t computed_ = 0;  ///< of those that are no variables of the graph
};

}  // namespace

Result<RecognizedNetwork> recognize_layers(FlatGraph& graph, const ImageInput& input, const Shape& shape,
                                           ConstantFolder& folder, const Registry& registry) {
  return Recognizer(graph, folder, registry).run(input, shape);
}

}  // namespace nacre
