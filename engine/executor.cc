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

BasicTensor<std::byte> bytes(size_t count, MemoryUse use = MemoryUse::kWhole) {
  return BasicTensor<std::byte>(Shape{static_cast<int64_t>(count)}, use);
}

/// One image needs little of the workspaces that its operators ask for, among others for packing what is
/// packed already.
MemoryUse use_of_scratch(const PlanOptions& options) {
  return options.mode == Mode::kInference && options.batch == 1 ? MemoryUse::kPartly : MemoryUse::kWhole;
}

}  // namespace

Executor::Executor(const Plan& plan)
    : plan_(&plan),
      arena_(bytes(plan.arena_bytes())),
      scratch_(bytes(plan.shared_workspace_bytes() +
                         static_cast<size_t>(plan.options().threads) * plan.thread_workspace_bytes(),
                     use_of_scratch(plan.options()))),
      loop_memory_(bytes(static_cast<size_t>(plan.options().threads) *
                         (plan.loop_arena_bytes() + plan.loop_shared_workspace_bytes()))),
      packed_memory_(bytes(plan.options().mode == Mode::kTraining ? plan.packed_bytes() : 0)),
      inputs_(static_cast<size_t>(plan.options().threads)) {
  size_t most_inputs = 0;
  for (const Unit& unit : plan.units()) most_inputs = std::max(most_inputs, unit.inputs.size());
  for (auto& inputs : inputs_) inputs.reserve(most_inputs);
  const bool training = plan.options().mode == Mode::kTraining;
  for (const PlannedVariable& variable : plan.variables()) {
    const bool stored = training && variable.has_gradient() && !variable.streamed;
    gradients_.push_back(stored ? Tensor(variable.shape) : Tensor());
  }
  size_t most_together = 1;
  for (const ImageGroup& group : plan.image_groups()) {
    most_together = std::max(most_together, group.end - group.begin);
  }
  stages_.reserve(most_together);
  views_.resize(most_together);
  for (UnitViews& views : views_) {
    views.inputs.reserve(most_inputs);
    views.input_gradients.reserve(most_inputs);
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
  return {0, n, nullptr, workspace(), inputs_.data(), false};
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
  assert(observer_ == nullptr || plan_->options().mode == Mode::kTraining || plan_->image_loop().units == 0);
  const size_t looped = observer_ == nullptr ? plan_->image_loop().units : 0;
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
  const std::byte* packed = packed_ == nullptr ? nullptr : packed_->of(unit);
  if (rows.packed) packed = packed_memory_.data() + unit.packed_offset;
  const size_t saved_before = unit.operation->info().saved_bytes * static_cast<size_t>(rows.first) /
                              static_cast<size_t>(plan_->options().batch);
  const ForwardArgs<float> args{
      *rows.inputs,  output_of(i, rows),
      variables_[i], training ? arena_.data() + unit.saved_offset + saved_before : nullptr,
      packed,        rows.workspace,
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
  const bool training = plan_->options().mode == Mode::kTraining;
  for (size_t i = 0; training && i < loop.units; ++i) {
    const Unit& unit = plan_->units()[i];
    unit.operation->pack(variables_[i], context.threads, packed_memory_.data() + unit.packed_offset);
  }
  const auto round = [&](int64_t number, int worker, const StepContext& how) {
    const auto thread = static_cast<size_t>(worker);
    Rows rows = whole(0);
    rows.first = number * images;
    rows.count = std::min(images, n - rows.first);
    rows.loop_arena = loop_memory_.data() + thread * stride;
    rows.packed = training;
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
  with_team(context.threads, [&] { backward_units({input, grad_output, context, sink}); });
}

void Executor::backward_units(const BackwardPass& pass) {
  assert(plan_->options().mode == Mode::kTraining);
  assert(pass.sink != nullptr || !plan_->options().stream_gradients);
  assert(observer_ == nullptr || plan_->image_groups().empty());
  auto group = plan_->image_groups().rbegin();
  for (size_t i = plan_->units().size(); i-- > 0;) {
    if (group != plan_->image_groups().rend() && group->end == i + 1) {
      backward_group(*group, pass);
      i = group->begin;
      ++group;
    } else {
      backward_unit(i, pass);
    }
  }
}

BackwardArgs<float> Executor::backward_args(size_t i, const BackwardPass& pass, UnitViews& views) {
  const std::vector<Unit>& units = plan_->units();
  const Unit& unit = units[i];
  const int64_t n = pass.input.shape[0];
  Rows rows = whole(n);
  rows.inputs = &views.inputs;
  collect_inputs(unit, pass.input, rows);
  views.input_gradients.clear();
  for (size_t k = 0; k < unit.inputs.size(); ++k) {
    TensorView<float> gradient;
    if (unit.wants_input_gradient[k]) {
      const Unit& producer = units[static_cast<size_t>(unit.inputs[k]) - 1];
      const bool partial = unit.partial_offsets[k] != Unit::kNone;
      gradient = at_offset(producer, partial ? unit.partial_offsets[k] : producer.gradient_offset, n);
    }
    views.input_gradients.push_back(gradient);
  }
  const bool last = i + 1 == units.size();
  Workspace room = workspace();
  room.shared += unit.shared_offset;
  return {views.inputs,
          at_offset(unit, unit.output_offset, n),
          last ? pass.grad_output : at_offset(unit, unit.gradient_offset, n),
          variables_[i],
          views.input_gradients,
          unit.adds_gradient,
          variable_gradients_[i],
          plan_->options().stream_gradients ? pass.sink : nullptr,
          unit.variables,
          arena_.data() + unit.saved_offset,
          room,
          pass.context};
}

void Executor::backward_unit(size_t i, const BackwardPass& pass) {
  const std::vector<Unit>& units = plan_->units();
  const Unit& unit = units[i];
  const bool useful = std::ranges::find(unit.wants_input_gradient, true) != unit.wants_input_gradient.end() ||
                      std::ranges::any_of(unit.variables, [&](int variable) {
                        return plan_->variables()[static_cast<size_t>(variable)].has_gradient();
                      });
  if (!useful) return;
  const BackwardArgs<float> args = backward_args(i, pass, views_[0]);
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
    accumulate(at_offset(producer, producer.gradient_offset, pass.input.shape[0]), args.grad_inputs[k].data,
               pass.context.threads);
  }
}

void Executor::backward_group(const ImageGroup& group, const BackwardPass& pass) {
  // Of the output of a unit within the group: in memory of the thread.
  const auto handed_on = [&](size_t unit) {
    auto* data = reinterpret_cast<float*>(loop_memory_.data() + plan_->units()[unit].gradient_offset);
    return ImagePlace<float>{data, 0, static_cast<int64_t>(plan_->loop_arena_bytes() / sizeof(float))};
  };
  stages_.clear();
  for (size_t i = group.end; i-- > group.begin;) {
    UnitViews& views = views_[i - group.begin];
    const BackwardArgs<float> args = backward_args(i, pass, views);
    // But for what is handed on, which no array of the whole batch has.
    ImageStage stage = ImageStage::of_batch(*plan_->units()[i].operation, args);
    if (i + 1 < group.end) stage.grad_output = {handed_on(i).data, 0, handed_on(i).thread_step};
    if (i > group.begin) {
      stage.grad_input = handed_on(i - 1);
      views.input_gradients[0].data = stage.grad_input.data;
    }
    stages_.push_back(stage);
  }
  backward_by_images(stages_);
}

}  // namespace nacre
