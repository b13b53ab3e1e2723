#include "engine/plan.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "engine/gradient_places.h"
#include "engine/memory_plan.h"
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

size_t bytes_of(const Shape& shape) {
  return static_cast<size_t>(shape.num_elements()) * sizeof(float);
}

__extension__ using Wide = unsigned __int128;

/// Buffers that share memory, and where each one's offset goes.
struct Buffers {
  void add(size_t bytes, int begin, int end, size_t* offset) {
    wanted_bytes += bytes;
    lifetimes.push_back({bytes, begin, end});
    offsets.push_back(offset);
  }
  /// Places them and returns the memory that they take.
  size_t settle() const {
    const MemoryPlan memory = plan_memory(lifetimes);
    for (size_t i = 0; i < offsets.size(); ++i) *offsets[i] = memory.offsets[i];
    return memory.total_bytes;
  }

  std::vector<Lifetime> lifetimes;
  std::vector<size_t*> offsets;
  Wide wanted_bytes = 0;
};

}  // namespace

bool Plan::is_between_loop_units(size_t unit) const {
  return unit + 1 < loop_.units;
}

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
  if (options.mode == Mode::kInference && options.loop_over_images && !options.reference) {
    plan.loop_ = choose_image_loop(plan.units_, options.batch, plan.options_.threads);
    // Its operators are made again, for fewer rows.
    if (plan.loop_.units > 0) NACRE_RETURN_IF_ERROR(plan.add_nodes(graph, registry));
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

Status Plan::place_buffers() {
  const bool training = options_.mode == Mode::kTraining;
  const int count = static_cast<int>(units_.size());
  // Time: forward of unit i happens at i, its backward at 2 * count - 1 - i.
  const auto backward_time = [&](int unit) { return 2 * count - 1 - unit; };

  std::vector<bool> trainable(static_cast<size_t>(count) + 1,
                              false);  // something to train lies at or before the value
  std::vector<int> last_reader(static_cast<size_t>(count) + 1, -1);
  for (int i = 0; i < count; ++i) {
    Unit& unit = units_[static_cast<size_t>(i)];
    for (const int input : unit.inputs) {
      last_reader[static_cast<size_t>(input)] = i;
      const bool wanted = training && trainable[static_cast<size_t>(input)];
      unit.wants_input_gradient.push_back(wanted);
      if (wanted) trainable[static_cast<size_t>(i) + 1] = true;
    }
    for (const int variable : unit.variables) {
      if (variables_[static_cast<size_t>(variable)].has_gradient())
        trainable[static_cast<size_t>(i) + 1] = true;
    }
  }

  Buffers buffers;
  Buffers loop_buffers;  // of one round of images
  const auto place = [&](size_t bytes, int begin, int end, size_t* offset) {
    buffers.add(bytes, begin, end, offset);
  };
  const std::vector<int> gradient_places = share_gradients();
  std::vector<Lifetime> gradients(static_cast<size_t>(count) + 1);  // of the values whose places they are
  std::vector<int> last_writer(static_cast<size_t>(count) + 1, -1);
  for (int i = count - 1; i >= 0; --i) {
    Unit& unit = units_[static_cast<size_t>(i)];
    const OperatorInfo& info = unit.operation->info();
    const auto output = static_cast<size_t>(i) + 1;
    const int end = training ? backward_time(i) : std::max(i, last_reader[output]);
    if (is_between_loop_units(static_cast<size_t>(i))) {
      loop_buffers.add(bytes_of(info.output), i, end, &unit.output_offset);
    } else {
      // The graph's output stays until the caller has read it.
      place(bytes_of(info.output.with_batch(options_.batch)), i, i == count - 1 ? 2 * count : end,
            &unit.output_offset);
    }
    unit.packed_offset = packed_bytes_;
    if (!training && !options_.reference) packed_bytes_ += align_up(info.packed_bytes);
    size_t& shared = static_cast<size_t>(i) < loop_.units ? loop_shared_bytes_ : shared_bytes_;
    shared = std::max(shared, align_up(info.shared_bytes));
    per_thread_bytes_ = std::max(per_thread_bytes_, align_up(info.per_thread_bytes));
    unit.partial_offsets.assign(unit.inputs.size(), Unit::kNone);
    unit.adds_gradient.assign(unit.inputs.size(), 0);
    if (!training) continue;
    place(info.saved_bytes, i, backward_time(i), &unit.saved_offset);
    if (i != count - 1 && trainable[output]) {
      const int begin = backward_time(last_reader[output]);
      Lifetime& gradient = gradients[static_cast<size_t>(gradient_places[output])];
      if (gradient.bytes == 0) gradient = {bytes_of(info.output), begin, begin};
      gradient.begin = std::min(gradient.begin, begin);
      gradient.end = std::max(gradient.end, backward_time(i));
    }
    for (size_t k = 0; k < unit.inputs.size(); ++k) {
      const auto input = static_cast<size_t>(unit.inputs[k]);
      if (!unit.wants_input_gradient[k]) continue;
      // What it has overwritten itself it cannot add to.
      const int writer = last_writer[input];
      last_writer[input] = i;
      if (writer > i && info.adds_gradients && !options_.reference) {
        unit.adds_gradient[k] = 1;
      } else if (writer >= 0) {
        const Shape& shape = units_[input - 1].operation->info().output;
        place(bytes_of(shape), backward_time(i), backward_time(i), &unit.partial_offsets[k]);
      }
    }
  }
  for (size_t value = 1; value < gradients.size(); ++value) {
    const Lifetime& gradient = gradients[value];
    if (gradient.bytes > 0)
      place(gradient.bytes, gradient.begin, gradient.end, &units_[value - 1].gradient_offset);
  }
  const Wide of_thread = loop_buffers.wanted_bytes + loop_shared_bytes_ + per_thread_bytes_;
  const Wide wanted_bytes = buffers.wanted_bytes + packed_bytes_ + shared_bytes_ +
                            of_thread * static_cast<unsigned>(options_.threads);
  if (wanted_bytes > options_.max_bytes) {
    return {StatusCode::kLimit, fmt::format("a batch of {} rows would need more than {} MiB of activations",
                                            options_.batch, options_.max_bytes >> 20)};
  }
  Wide variable_bytes = 0;
  for (const PlannedVariable& variable : variables_) {
    variable_bytes += bytes_of(variable.shape);
    if (variable_bytes > options_.max_bytes) {
      return {StatusCode::kLimit,
              fmt::format("the variables up to {} {} would need more than {} MiB", variable.name,
                          variable.shape.to_string(), options_.max_bytes >> 20)};
    }
  }
  arena_bytes_ = buffers.settle();
  loop_arena_bytes_ = loop_buffers.settle();
  for (size_t value = 1; value < gradient_places.size(); ++value) {
    const auto place_of = static_cast<size_t>(gradient_places[value]);
    units_[value - 1].gradient_offset = units_[place_of - 1].gradient_offset;
  }
  return {};
}

std::vector<int> Plan::share_gradients() const {
  std::vector<GradientWrites> operators;
  for (const Unit& unit : units_) {
    GradientWrites writes;
    writes.in_place = unit.operation->info().gradients_in_place && !options_.reference;
    for (size_t k = 0; k < unit.inputs.size(); ++k) {
      if (unit.wants_input_gradient[k]) writes.values.push_back(unit.inputs[k]);
    }
    operators.push_back(std::move(writes));
  }
  return nacre::share_gradients(operators);
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
