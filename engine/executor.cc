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
                     static_cast<size_t>(plan.options().threads) * plan.thread_workspace_bytes())) {
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

void Executor::collect_inputs(const Unit& unit, TensorView<const float> input, int64_t n) {
  inputs_.clear();
  for (const int value : unit.inputs) {
    if (value == 0) {
      inputs_.push_back(input);
      continue;
    }
    const Unit& producer = plan_->units()[static_cast<size_t>(value) - 1];
    inputs_.push_back(at_offset(producer, producer.output_offset, n));
  }
}

TensorView<const float> Executor::forward(TensorView<const float> input, const StepContext& requested) {
  const StepContext context = within_plan(requested);
  assert(variables_.size() == plan_->units().size());
  const int64_t n = input.shape[0];
  assert(n <= plan_->options().batch && input.shape == plan_->input_shape().with_batch(n));
  const bool training = plan_->options().mode == Mode::kTraining;
  TensorView<float> output;
  for (size_t i = 0; i < plan_->units().size(); ++i) {
    const Unit& unit = plan_->units()[i];
    collect_inputs(unit, input, n);
    output = at_offset(unit, unit.output_offset, n);
    const ForwardArgs<float> args{inputs_,
                                  output,
                                  variables_[i],
                                  training ? arena_.data() + unit.saved_offset : nullptr,
                                  packed_ == nullptr ? nullptr : packed_->of(unit),
                                  workspace(),
                                  context};
    if (observer_ != nullptr) observer_->begin(i, UnitObserver::Pass::kForward);
    if (plan_->options().reference) {
      unit.operation->forward_reference(args);
    } else {
      unit.operation->forward(args);
    }
    if (observer_ != nullptr) observer_->end(i, UnitObserver::Pass::kForward);
  }
  return output;
}

void Executor::backward(TensorView<const float> input, TensorView<const float> grad_output,
                        const StepContext& requested, GradientSink* sink) {
  const StepContext context = within_plan(requested);
  assert(plan_->options().mode == Mode::kTraining);
  assert(sink != nullptr || !plan_->options().stream_gradients);
  const int64_t n = input.shape[0];
  const std::vector<Unit>& units = plan_->units();
  for (size_t i = units.size(); i-- > 0;) {
    const Unit& unit = units[i];
    collect_inputs(unit, input, n);
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
    const BackwardArgs<float> args{inputs_,
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
