#include "engine/executor.h"

#include <algorithm>
#include <cassert>

#include "engine/parallel.h"
#include "engine/vector_math.h"

namespace nacre {
namespace {

void accumulate(TensorView<float> sum, const float* part, int threads) {
  for_elements(sum.size(), threads, [&](int64_t begin, int64_t end) {
    add(end - begin, sum.data + begin, part + begin, sum.data + begin);
  });
}

BasicTensor<std::byte> bytes(size_t count) {
  return BasicTensor<std::byte>(Shape{static_cast<int64_t>(count)});
}

}  // namespace

Executor::Executor(const Plan& plan)
    : plan_(&plan),
      arena_(bytes(plan.arena_bytes())),
      scratch_(bytes(plan.shared_workspace_bytes() +
                     static_cast<size_t>(plan.options().threads) * plan.thread_workspace_bytes())),
      loop_memory_(bytes(static_cast<size_t>(plan.options().threads) *
                         (plan.loop_arena_bytes() + plan.loop_shared_workspace_bytes()))),
      inputs_(static_cast<size_t>(plan.options().threads)) {
  size_t most_inputs = 0;
  for (const Unit& unit : plan.units()) most_inputs = std::max(most_inputs, unit.inputs.size());
  for (auto& inputs : inputs_) inputs.reserve(most_inputs);
  const bool training = plan.options().mode == Mode::kTraining;
  for (const PlannedVariable& variable : plan.variables()) {
    const bool stored = training && variable.has_gradient() && !variable.streamed;
    gradients_.push_back(stored ? Tensor(variable.shape) : Tensor());
  }
  for (const Unit& unit : plan.units()) {
    std::vector<TensorView<float>> views;
    for (const int variable : unit.variables)
      views.push_back(gradients_[static_cast<size_t>(variable)].view());
    variable_gradients_.push_back(std::move(views));
  }
}

Status Executor::bind(const VariableStore& store, const PackedVariables* packed) {
  NACRE_RETURN_IF_ERROR(plan_->check_variables(store));
  variables_.clear();
  for (const Unit& unit : plan_->units()) variables_.push_back(plan_->variables_of(unit, store));
  packed_ = packed;
  return {};
}

TensorView<float> Executor::at_offset(const Unit& unit, size_t offset, int64_t n) {
  return {reinterpret_cast<float*>(arena_.data() + offset), unit.operation->info().output.with_batch(n)};
}

TensorView<const float> Executor::output(size_t unit) {
  const Unit& planned = plan_->units()[unit];
  return at_offset(planned, planned.output_offset, plan_->options().batch);
}

StepContext Executor::within_plan(const StepContext& requested) const {
  StepContext context = requested;
  context.threads = std::min(requested.threads, plan_->options().threads);
  return context;
}

Workspace Executor::workspace() {
  return {scratch_.data(), scratch_.data() + plan_->shared_workspace_bytes(),
          plan_->thread_workspace_bytes()};
}

Executor::Rows Executor::whole(int64_t n) {
  return {0, n, nullptr, workspace(), inputs_.data()};
}

TensorView<float> Executor::output_of(size_t unit, const Rows& rows) {
  const Unit& planned = plan_->units()[unit];
  if (plan_->is_between_loop_units(unit)) {
    return {reinterpret_cast<float*>(rows.loop_arena + planned.output_offset),
            planned.operation->info().output.with_batch(rows.count)};
  }
  TensorView<float> output = at_offset(planned, planned.output_offset, rows.count);
  output.data += rows.first * output.shape.elements_per_row();
  return output;
}

void Executor::collect_inputs(const Unit& unit, TensorView<const float> input, const Rows& rows) {
  rows.inputs->clear();
  for (const int value : unit.inputs) {
    if (value == 0) {
      rows.inputs->push_back(
          {input.data + rows.first * input.shape.elements_per_row(), input.shape.with_batch(rows.count)});
    } else {
      rows.inputs->push_back(output_of(static_cast<size_t>(value) - 1, rows));
    }
  }
}

TensorView<const float> Executor::forward(TensorView<const float> input, const StepContext& requested) {
  const StepContext context = within_plan(requested);
  TensorView<const float> output;
  with_team(context.threads, [&] { output = forward_units(input, context); });
  return output;
}

TensorView<const float> Executor::forward_units(TensorView<const float> input, const StepContext& context) {
  assert(variables_.size() == plan_->units().size());
  const int64_t n = input.shape[0];
  assert(n <= plan_->options().batch && input.shape == plan_->input_shape().with_batch(n));
  const size_t looped = plan_->image_loop().units;
  assert(observer_ == nullptr || looped == 0);
  if (looped > 0) loop_over_images(input, context);
  const Rows rows = whole(n);
  for (size_t i = looped; i < plan_->units().size(); ++i) {
    if (observer_ != nullptr) observer_->begin(i, UnitObserver::Pass::kForward);
    forward_unit(i, input, rows, context);
    if (observer_ != nullptr) observer_->end(i, UnitObserver::Pass::kForward);
  }
  return output_of(plan_->units().size() - 1, rows);
}

void Executor::forward_unit(size_t i, TensorView<const float> input, const Rows& rows,
                            const StepContext& context) {
  const Unit& unit = plan_->units()[i];
  const bool training = plan_->options().mode == Mode::kTraining;
  collect_inputs(unit, input, rows);
  const ForwardArgs<float> args{*rows.inputs,
                                output_of(i, rows),
                                variables_[i],
                                training ? arena_.data() + unit.saved_offset : nullptr,
                                packed_ == nullptr ? nullptr : packed_->of(unit),
                                rows.workspace,
                                context};
  if (plan_->options().reference) {
    unit.operation->forward_reference(args);
  } else {
    unit.operation->forward(args);
  }
}

void Executor::loop_over_images(TensorView<const float> input, const StepContext& context) {
  const ImageLoop& loop = plan_->image_loop();
  const int64_t n = input.shape[0];
  // Rounds of equal size, as many for each thread.
  const int64_t wanted = chunks_of(chunks_of(n, loop.rows), context.threads) * context.threads;
  const int64_t images = chunks_of(n, wanted);
  const size_t stride = plan_->loop_arena_bytes() + plan_->loop_shared_workspace_bytes();
  const auto round = [&](int64_t number, int worker, const StepContext& how) {
    const auto thread = static_cast<size_t>(worker);
    Rows rows = whole(0);
    rows.first = number * images;
    rows.count = std::min(images, n - rows.first);
    rows.loop_arena = loop_memory_.data() + thread * stride;
    rows.workspace.shared = rows.loop_arena + plan_->loop_arena_bytes();
    rows.workspace.per_thread += thread * rows.workspace.per_thread_stride;
    rows.inputs = &inputs_[thread];
    for (size_t i = 0; i < loop.units; ++i) forward_unit(i, input, rows, how);
  };
  StepContext alone = context;
  alone.threads = 1;
  // Rounds that are too few for all threads are done by all together.
  const int64_t rounds = chunks_of(n, images);
  const int64_t shared_out = rounds / context.threads * context.threads;
  parallel_for(shared_out, context.threads,
               [&](int64_t number, int worker) { round(number, worker, alone); });
  for (int64_t number = shared_out; number < rounds; ++number) round(number, 0, context);
}

void Executor::backward(TensorView<const float> input, TensorView<const float> grad_output,
                        const StepContext& requested, GradientSink* sink) {
  const StepContext context = within_plan(requested);
  with_team(context.threads, [&] { backward_units(input, grad_output, context, sink); });
}

void Executor::backward_units(TensorView<const float> input, TensorView<const float> grad_output,
                              const StepContext& context, GradientSink* sink) {
  assert(plan_->options().mode == Mode::kTraining);
  assert(sink != nullptr || !plan_->options().stream_gradients);
  const int64_t n = input.shape[0];
  const Rows rows = whole(n);
  const std::vector<Unit>& units = plan_->units();
  for (size_t i = units.size(); i-- > 0;) {
    const Unit& unit = units[i];
    collect_inputs(unit, input, rows);
    input_gradients_.clear();
    bool useful = false;
    for (size_t k = 0; k < unit.inputs.size(); ++k) {
      TensorView<float> gradient;
      if (unit.wants_input_gradient[k]) {
        const Unit& producer = units[static_cast<size_t>(unit.inputs[k]) - 1];
        const bool partial = unit.partial_offsets[k] != Unit::kNone;
        gradient = at_offset(producer, partial ? unit.partial_offsets[k] : producer.gradient_offset, n);
      }
      useful = useful || !gradient.empty();
      input_gradients_.push_back(gradient);
    }
    for (const int variable : unit.variables) {
      useful = useful || plan_->variables()[static_cast<size_t>(variable)].has_gradient();
    }
    if (!useful) continue;

    const bool last = i + 1 == units.size();
    const BackwardArgs<float> args{*rows.inputs,
                                   at_offset(unit, unit.output_offset, n),
                                   last ? grad_output : at_offset(unit, unit.gradient_offset, n),
                                   variables_[i],
                                   input_gradients_,
                                   unit.adds_gradient,
                                   variable_gradients_[i],
                                   plan_->options().stream_gradients ? sink : nullptr,
                                   unit.variables,
                                   arena_.data() + unit.saved_offset,
                                   workspace(),
                                   context};
    if (observer_ != nullptr) observer_->begin(i, UnitObserver::Pass::kBackward);
    if (plan_->options().reference) {
      unit.operation->backward_reference(args);
    } else {
      unit.operation->backward(args);
    }
    if (observer_ != nullptr) observer_->end(i, UnitObserver::Pass::kBackward);
    for (size_t k = 0; k < unit.inputs.size(); ++k) {
      if (unit.partial_offsets[k] == Unit::kNone) continue;
      const Unit& producer = units[static_cast<size_t>(unit.inputs[k]) - 1];
      accumulate(at_offset(producer, producer.gradient_offset, n), input_gradients_[k].data, context.threads);
    }
  }
}

}  // namespace nacre
