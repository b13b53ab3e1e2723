#include "serialize/tensorflow/graph_frames.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <utility>

#include "serialize/tensorflow/flat_graph.h"

namespace nacre {
namespace {

// In inference these give what they take. A PlaceholderWithDefault that nobody feeds is its default.
constexpr std::array<std::string_view, 9> kPassing{
    "Identity", "StopGradient",           "PreventGradient", "Snapshot",      "CheckNumerics",
    "Enter",    "PlaceholderWithDefault", "EnsureShape",     "ReadVariableOp"};

bool is_call(const tensorflow::NodeDef& node) {
  return node.op() == "PartitionedCall" || node.op() == "StatefulPartitionedCall";
}

/// Where an op's output list `name` begins among its outputs; lists of one that come first need no entry.
int port_of(std::string_view op, std::string_view name) {
  static constexpr std::array<std::pair<std::string_view, int>, 5> kFused{{{"batch_mean", 1},
                                                                           {"batch_variance", 2},
                                                                           {"reserve_space_1", 3},
                                                                           {"reserve_space_2", 4},
                                                                           {"flow", 1}}};
  for (const auto& [known, port] : kFused) {
    if (name == known && (op.starts_with("FusedBatchNorm") || op.starts_with("TensorArray"))) return port;
  }
  return name == "output_true" ? 1 : 0;
}

Status corrupt(const std::string& reason) {
  return {StatusCode::kCorrupt, reason};
}

Status too_long() {
  return {StatusCode::kCorrupt,
          fmt::format("its functions and chains of nodes take more than {} steps", FlatGraph::kMaxSteps)};
}

Status index_scope(GraphScope& scope, const google::protobuf::RepeatedPtrField<tensorflow::NodeDef>& nodes) {
  for (const tensorflow::NodeDef& node : nodes) {
    if (!scope.nodes.emplace(node.name(), &node).second) {
      return corrupt(fmt::format("two nodes are called \"{}\"", node.name()));
    }
  }
  return {};
}

}  // namespace

const std::string* data_input(const tensorflow::NodeDef& node, int index) {
  for (const std::string& input : node.input()) {
    if (input.starts_with('^')) continue;
    if (index-- == 0) return &input;
  }
  return nullptr;
}

int data_inputs(const tensorflow::NodeDef& node) {
  int count = 0;
  for (const std::string& input : node.input()) count += input.starts_with('^') ? 0 : 1;
  return count;
}

std::string describe(const tensorflow::NodeDef& node) {
  return fmt::format("node \"{}\" ({})", node.name(), node.op());
}

Status GraphFrames::prepare() {
  NACRE_RETURN_IF_ERROR(index_scope(main_, meta_.graph_def().node()));
  for (const tensorflow::FunctionDef& function : meta_.graph_def().library().function()) {
    if (!functions_.emplace(function.signature().name(), &function).second) {
      return corrupt(fmt::format("two functions are called \"{}\"", function.signature().name()));
    }
  }
  Frame frame;
  frame.scope = &main_;
  frames_.push_back(frame);
  return {};
}

Result<const GraphScope*> GraphFrames::scope_of(const std::string& function) {
  if (const auto known = scopes_.find(function); known != scopes_.end()) return &known->second;
  const auto found = functions_.find(function);
  if (found == functions_.end()) return corrupt(fmt::format("there is no function \"{}\"", function));
  GraphScope scope;
  scope.function = found->second;
  NACRE_RETURN_IF_ERROR(
      index_scope(scope, scope.function->node_def()).at(fmt::format("function \"{}\"", function)));
  const auto& arguments = scope.function->signature().input_arg();
  for (int i = 0; i < arguments.size(); ++i) scope.arguments.emplace(arguments[i].name(), i);
  return &scopes_.emplace(function, std::move(scope)).first->second;
}

Result<int> GraphFrames::enter(int frame, const tensorflow::NodeDef& node, const std::string& function,
                               CallKind kind) {
  if (const auto known = entered_.find({frame, &node}); known != entered_.end()) return known->second;
  Frame entered;
  NACRE_ASSIGN_OR_RETURN(entered.scope, scope_of(function));
  for (int above = frame; above >= 0; above = frames_[static_cast<size_t>(above)].parent) {
    if (frames_[static_cast<size_t>(above)].scope == entered.scope) {
      return corrupt(fmt::format("function \"{}\" calls itself", function));
    }
  }
  entered.parent = frame;
  entered.depth = frames_[static_cast<size_t>(frame)].depth + 1;
  entered.kind = kind;
  entered.call = &node;
  if (entered.depth > FlatGraph::kMaxCallDepth) {
    return corrupt(fmt::format("calls of functions are nested more than {} deep", FlatGraph::kMaxCallDepth));
  }
  if (frames_.size() >= FlatGraph::kMaxFrames) {
    return corrupt(fmt::format("more than {} calls of functions", FlatGraph::kMaxFrames));
  }
  frames_.push_back(entered);
  const auto index = static_cast<int>(frames_.size()) - 1;
  entered_.emplace(std::pair{frame, &node}, index);
  return index;
}

Result<std::string> GraphFrames::returned(int frame, int port) const {
  const tensorflow::FunctionDef& function = *frames_[static_cast<size_t>(frame)].scope->function;
  const auto& outputs = function.signature().output_arg();
  if (port >= outputs.size() || !function.ret().contains(outputs[port].name())) {
    return corrupt(fmt::format("function \"{}\" has no output {}", function.signature().name(), port));
  }
  return function.ret().at(outputs[port].name());
}

Result<TensorPlace> GraphFrames::look_up(int frame, const std::string& input) {
  if (++steps_ > FlatGraph::kMaxSteps) return too_long();
  const GraphScope& scope = *frames_[static_cast<size_t>(frame)].scope;
  const std::string_view text = input;
  const size_t colon = text.find(':');
  const std::string_view name = text.substr(0, colon);
  TensorPlace place;
  place.frame = frame;
  if (colon == std::string_view::npos) {
    if (const auto argument = scope.arguments.find(name); argument != scope.arguments.end()) {
      place.argument = argument->second;
      return place;
    }
  }
  const auto node = scope.nodes.find(name);
  if (node == scope.nodes.end()) return corrupt(fmt::format("input \"{}\" is no node", input));
  place.node = node->second;
  if (colon == std::string_view::npos) return place;
  std::string_view rest = text.substr(colon + 1);
  int base = 0;
  if (const size_t second = rest.find(':'); second != std::string_view::npos) {
    base = port_of(place.node->op(), rest.substr(0, second));
    rest = rest.substr(second + 1);
  } else if (scope.function != nullptr) {
    return corrupt(fmt::format("input \"{}\": expected node:output:number in a function", input));
  }
  constexpr int kMaxPort = 1 << 16;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), place.port);
  if (error != std::errc() || end != rest.data() + rest.size() || place.port < 0 || place.port > kMaxPort) {
    return corrupt(fmt::format("input \"{}\": expected the number of an output", input));
  }
  place.port += base;
  return place;
}

const std::string* GraphFrames::passed_on(const tensorflow::NodeDef& node, int port) const {
  if (node.op() == "IdentityN") return data_input(node, port);
  for (const std::string_view op : kPassing) {
    if (node.op() == op) return data_input(node, 0);
  }
  return nullptr;
}

const std::string* GraphFrames::called_function(const tensorflow::NodeDef& node) const {
  if (is_call(node)) {
    const auto f = node.attr().find("f");
    return f == node.attr().end() ? nullptr : &f->second.func().name();
  }
  return functions_.contains(node.op()) ? &node.op() : nullptr;
}

Status GraphFrames::check_invariant(const TensorPlace& argument) {
  NACRE_ASSIGN_OR_RETURN(const std::string next, returned(argument.frame, argument.argument));
  NACRE_ASSIGN_OR_RETURN(const TensorPlace after, resolve_in_turn(argument.frame, next));
  if (after.node == nullptr && after.frame == argument.frame && after.argument == argument.argument)
    return {};
  return {StatusCode::kUnsupported,
          describe(*frame(argument.frame).call) + ": a loop that hands values from one turn to the next"};
}

Result<TensorPlace> GraphFrames::follow(TensorPlace place, bool leave_loops) {
  while (true) {
    if (place.node == nullptr) {
      const Frame& here = frames_[static_cast<size_t>(place.frame)];
      if (here.kind == CallKind::kMapBody) return place;
      if (here.kind == CallKind::kLoopBody) {
        if (!leave_loops) return place;
        NACRE_RETURN_IF_ERROR(check_invariant(place));
      }
      const std::string* input = data_input(*here.call, place.argument);
      if (input == nullptr) return corrupt(describe(*here.call) + ": has too few inputs for its function");
      NACRE_ASSIGN_OR_RETURN(place, look_up(here.parent, *input));
      continue;
    }
    if (place.frame == 0 && place.node == stop) return place;
    if (const std::string* input = passed_on(*place.node, place.port); input != nullptr) {
      NACRE_ASSIGN_OR_RETURN(place, look_up(place.frame, *input));
      continue;
    }
    const std::string* function = called_function(*place.node);
    if (function == nullptr) return place;
    NACRE_ASSIGN_OR_RETURN(const int inner, enter(place.frame, *place.node, *function, CallKind::kCall));
    NACRE_ASSIGN_OR_RETURN(const std::string result, returned(inner, place.port));
    NACRE_ASSIGN_OR_RETURN(place, look_up(inner, result));
  }
}

Result<TensorPlace> GraphFrames::resolve(int frame, const std::string& input) {
  NACRE_ASSIGN_OR_RETURN(const TensorPlace place, look_up(frame, input));
  return follow(place, true);
}

Result<TensorPlace> GraphFrames::resolve_in_turn(int frame, const std::string& input) {
  NACRE_ASSIGN_OR_RETURN(const TensorPlace place, look_up(frame, input));
  return follow(place, false);
}

}  // namespace nacre
