#include "engine/plan.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "engine/tensor.h"

namespace nacre {
namespace {

Status at_node(const Node& node, const Status& status) {
  return status.at(fmt::format("node {:?} ({})", node.name, node.op));
}

Result<const OpDef*> find_op(const Registry& registry, const Node& node) {
  const OpDef* op = registry.find(node.op);
  if (op == nullptr) {
    return Status(StatusCode::kUnsupported, fmt::format("node {:?}: unknown op {:?}; known are {}", node.name,
                                                        node.op, registry.names()));
  }
  if (node.op_version < 1 || node.op_version > op->version) {
    return Status(StatusCode::kUnsupported,
                  fmt::format("node {:?}: {} of version {}, but this nacre knows 1 to {}", node.name, node.op,
                              node.op_version, op->version));
  }
  const auto inputs = static_cast<int>(node.inputs.size());
  if (inputs < op->min_inputs || inputs > op->max_inputs) {
    return Status(StatusCode::kBadData,
                  fmt::format("node {:?}: {} takes {} to {} inputs, found {}", node.name, node.op,
                              op->min_inputs, op->max_inputs, inputs));
  }
  return op;
}

/// Of each node, the nodes that read it.
std::vector<std::vector<int>> find_readers(const Graph& graph) {
  std::vector<std::vector<int>> readers(graph.nodes().size());
  for (size_t i = 0; i < graph.nodes().size(); ++i) {
    for (const int producer : graph.producers()[i]) {
      if (producer >= 0) readers[static_cast<size_t>(producer)].push_back(static_cast<int>(i));
    }
  }
  return readers;
}

/// The nodes of the chain that starts at `first` and matches `pattern`, each read only by the next; empty
/// when none does.
std::vector<int> match_chain(const Graph& graph, const std::vector<std::vector<int>>& readers, int first,
                             const std::vector<std::string>& pattern) {
  std::vector<int> chain;
  for (int at = first;; at = readers[static_cast<size_t>(at)].front()) {
    const Node& node = graph.nodes()[static_cast<size_t>(at)];
    if (node.op != pattern[chain.size()] || (!chain.empty() && node.inputs.size() != 1)) return {};
    chain.push_back(at);
    if (chain.size() == pattern.size()) return chain;
    if (readers[static_cast<size_t>(at)].size() != 1) return {};
  }
}

}  // namespace

Shape Plan::output_shape() const {
  return units_.back().operation->info().output.with_batch(options_.batch);
}

Result<Plan> Plan::make(const Graph& graph, const Registry& registry, const Shape& input_row,
                        const PlanOptions& options) {
  Plan plan;
  plan.options_ = options;
  plan.options_.threads = std::max(1, options.threads);
  std::vector<int64_t> dims{options.batch};
  dims.insert(dims.end(), input_row.dims().begin(), input_row.dims().end());
  if (options.batch < 1) return Status(StatusCode::kUsage, fmt::format("a batch of {} rows", options.batch));
  NACRE_ASSIGN_OR_RETURN(plan.input_shape_, Shape::make(dims));
  NACRE_RETURN_IF_ERROR(plan.add_nodes(graph, registry));
  if (options.loop_over_images && !options.reference) {
    plan.loop_ = choose_image_loop(plan.units_, options.batch, plan.options_.threads, options.mode);
    // Its operators are made again, for fewer rows: but for training, whose backward is of the whole batch.
    if (plan.loop_.units > 0 && options.mode == Mode::kInference) {
      NACRE_RETURN_IF_ERROR(plan.add_nodes(graph, registry));
    }
  }
  NACRE_RETURN_IF_ERROR(plan.place_buffers());
  return plan;
}

Status Plan::add_nodes(const Graph& graph, const Registry& registry) {
  const size_t count = graph.nodes().size();
  units_.clear();
  variables_.clear();
  nodes_.clear();
  const std::vector<size_t> unit_before = std::exchange(unit_of_node_, std::vector<size_t>(count));
  const auto rows_of = [&](size_t node) {
    return unit_before[node] < loop_.units ? loop_.rows : options_.batch;
  };
  std::vector<std::unique_ptr<Operator>> operations(count);
  std::vector<const OpDef*> ops(count);
  std::vector<Shape> outputs(count);  // of the operations, which move into units one by one
  const auto input_shapes = [&](size_t i) {
    std::vector<Shape> shapes;
    for (const int producer : graph.producers()[i]) {
      const Shape& shape = producer < 0 ? input_shape_ : outputs[static_cast<size_t>(producer)];
      shapes.push_back(loop_.units > 0 ? shape.with_batch(rows_of(i)) : shape);
    }
    return shapes;
  };
  const auto create = [&](const OpDef& op, const std::vector<int>& chain) {
    std::vector<const AttrMap*> attributes;
    for (const int i : chain) attributes.push_back(&graph.nodes()[static_cast<size_t>(i)].attributes);
    const auto first = static_cast<size_t>(chain.front());
    const std::vector<Shape> shapes = input_shapes(first);
    OperatorRequest request;
    request.node_name = graph.nodes()[first].name;
    request.attributes = attributes;
    request.inputs = shapes;
    request.mode = options_.mode;
    request.threads = options_.threads;
    return op.create(request);
  };

  for (size_t i = 0; i < count; ++i) {
    const Node& node = graph.nodes()[i];
    NACRE_ASSIGN_OR_RETURN(ops[i], find_op(registry, node));
    auto created = create(*ops[i], {static_cast<int>(i)});
    if (!created.ok()) return at_node(node, created.status());
    operations[i] = std::move(created).value();
    const OperatorInfo& info = operations[i]->info();
    // An operator's own arithmetic may have multiplied extents from outside; only checked shapes go on.
    NACRE_RETURN_IF_ERROR(at_node(node, Shape::make(info.output.dims()).status()));
    outputs[i] = info.output;
    NodeSummary summary{node.name, node.op, info.output.with_batch(1), 0, info.flops_per_row};
    for (const VariableSpec& spec : info.variables) {
      NACRE_RETURN_IF_ERROR(at_node(node, Shape::make(spec.shape.dims()).status()));
      summary.parameters += spec.shape.num_elements();
    }
    nodes_.push_back(std::move(summary));
  }

  const std::vector<std::vector<int>> readers = find_readers(graph);
  std::vector<int> value_of(count, -1);  // the value that holds a node's output
  std::vector<bool> taken(count, false);
  for (size_t i = 0; i < count; ++i) {
    if (taken[i]) continue;
    std::vector<int> chain{static_cast<int>(i)};
    Unit unit;
    unit.op = ops[i];
    for (const OpDef& op : registry.all()) {
      if (!options_.fuse || options_.reference || op.pattern.size() <= chain.size()) continue;
      std::vector<int> longer = match_chain(graph, readers, static_cast<int>(i), op.pattern);
      if (longer.empty()) continue;
      auto created = create(op, longer);
      if (!created.ok()) return at_node(graph.nodes()[i], created.status());
      if (created.value() == nullptr) continue;
      unit.op = &op;
      unit.operation = std::move(created).value();
      chain = std::move(longer);
    }
    if (unit.operation == nullptr) unit.operation = std::move(operations[i]);
    for (const int member : chain) {
      taken[static_cast<size_t>(member)] = true;
      unit_of_node_[static_cast<size_t>(member)] = units_.size();
      unit.name += (unit.name.empty() ? "" : "+") + graph.nodes()[static_cast<size_t>(member)].name;
    }
    for (const int producer : graph.producers()[i]) {
      unit.inputs.push_back(producer < 0 ? 0 : value_of[static_cast<size_t>(producer)]);
    }
    for (const VariableSpec& spec : unit.operation->info().variables) {
      const Node& owner = graph.nodes()[static_cast<size_t>(chain[static_cast<size_t>(spec.node)])];
      unit.variables.push_back(static_cast<int>(variables_.size()));
      const bool streamed = options_.stream_gradients && !options_.reference && spec.streamed;
      variables_.push_back({owner.name + "/" + spec.name, spec.shape, spec.initializer, spec.trainable,
                            spec.decay, spec.moving_average, streamed});
    }
    value_of[static_cast<size_t>(chain.back())] = static_cast<int>(units_.size()) + 1;
    units_.push_back(std::move(unit));
  }
  return {};
}

VariableStore Plan::initial_variables(uint64_t seed) const {
  VariableStore store;
  for (const PlannedVariable& variable : variables_) {
    Tensor tensor(variable.shape);
    initialize(variable.initializer, seed, variable.name, tensor.view());
    // Node names are unique and so are an operator's own names: adding cannot fail.
    const Status added = store.add(variable.name, std::move(tensor));
    (void)added;
  }
  return store;
}

std::vector<TensorView<const float>> Plan::variables_of(const Unit& unit, const VariableStore& store) const {
  std::vector<TensorView<const float>> views;
  for (const int variable : unit.variables) {
    views.push_back(store.find(variables_[static_cast<size_t>(variable)].name)->view());
  }
  return views;
}

Status Plan::check_variables(const VariableStore& store) const {
  constexpr size_t kMostListed = 3;
  std::vector<std::string> wrong;
  size_t count = 0;
  for (const PlannedVariable& variable : variables_) {
    const Tensor* tensor = store.find(variable.name);
    std::string reason;
    if (tensor == nullptr) {
      reason = fmt::format("{} {} is missing", variable.name, variable.shape.to_string());
    } else if (!(tensor->shape() == variable.shape)) {
      reason = fmt::format("{} is {}, expected {}", variable.name, tensor->shape().to_string(),
                           variable.shape.to_string());
    } else {
      continue;
    }
    if (++count <= kMostListed) wrong.push_back(std::move(reason));
  }
  if (count == 0) return {};
  std::string text = fmt::format("the variables are those of another network: {}", fmt::join(wrong, "; "));
  if (count > kMostListed) text += fmt::format("; and {} more", count - kMostListed);
  return {StatusCode::kBadData, text};
}

}  // namespace nacre
