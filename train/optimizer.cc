#include "train/optimizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "engine/parallel.h"
#include "engine/vector_math.h"

namespace nacre {

std::span<const EnumName<OptimizerKind>> enum_names(OptimizerKind) {
  static constexpr std::array<EnumName<OptimizerKind>, 3> kNames{
      {{OptimizerKind::kSgd, "sgd"}, {OptimizerKind::kAdam, "adam"}, {OptimizerKind::kAdamW, "adamw"}}};
  return kNames;
}

std::span<const EnumName<LearningRateSchedule>> enum_names(LearningRateSchedule) {
  static constexpr std::array<EnumName<LearningRateSchedule>, 3> kNames{
      {{LearningRateSchedule::kConstant, "constant"},
       {LearningRateSchedule::kStep, "step"},
       {LearningRateSchedule::kCosine, "cosine"}}};
  return kNames;
}

double learning_rate_at(const OptimizerOptions& options, int64_t step, int64_t total) {
  const double rate = options.learning_rate;
  if (step <= options.warmup_steps) {
    return rate * static_cast<double>(step) / static_cast<double>(options.warmup_steps);
  }
  const auto length = static_cast<double>(std::max<int64_t>(1, total - options.warmup_steps));
  const double progress = std::min(1.0, static_cast<double>(step - 1 - options.warmup_steps) / length);
  switch (options.schedule) {
    case LearningRateSchedule::kConstant:
      return rate;
    case LearningRateSchedule::kStep:
      return progress < 0.5 ? rate : progress < 0.75 ? rate * 0.1 : rate * 0.01;
    case LearningRateSchedule::kCosine:
      return rate * 0.5 * (1.0 + std::cos(std::numbers::pi * progress));
  }
  return rate;
}

namespace {

/// average = momentum * average + (1 - momentum) * statistic.
void move_average(int64_t n, double momentum, const float* statistic, float* average) {
  const auto kept = static_cast<float>(momentum);
  const auto taken = static_cast<float>(1.0 - momentum);
  for (int64_t i = 0; i < n; ++i) average[i] = kept * average[i] + taken * statistic[i];
}

}  // namespace

double global_gradient_norm(const Plan& plan, const Executor& executor, int threads) {
  constexpr int64_t kChunk = 16384;
  double total = 0;
  std::vector<double> sums;
  for (size_t i = 0; i < plan.variables().size(); ++i) {
    if (!plan.variables()[i].trainable) continue;
    const TensorView<const float> gradient = executor.gradient(i);
    sums.assign(static_cast<size_t>(chunks_of(gradient.size(), kChunk)), 0.0);
    parallel_for(static_cast<int64_t>(sums.size()), threads, [&](int64_t chunk, int /*worker*/) {
      double sum = 0;
      const int64_t end = std::min(gradient.size(), (chunk + 1) * kChunk);
      for (int64_t k = chunk * kChunk; k < end; ++k) {
        const auto g = static_cast<double>(gradient.data[k]);
        sum += g * g;
      }
      sums[static_cast<size_t>(chunk)] = sum;
    });
    for (const double sum : sums) total += sum;
  }
  return std::sqrt(total);
}

std::vector<std::string> Optimizer::slot_names(const PlannedVariable& variable) const {
  if (!variable.trainable) return {};
  if (options_.kind != OptimizerKind::kSgd) return {variable.name + "/adam_m", variable.name + "/adam_v"};
  if (options_.momentum != 0) return {variable.name + "/momentum"};
  return {};
}

Status Optimizer::add_slots(const Plan& plan, VariableStore& store) const {
  for (const PlannedVariable& variable : plan.variables()) {
    for (const std::string& name : slot_names(variable)) {
      const Tensor* slot = store.find(name);
      if (slot == nullptr) {
        NACRE_RETURN_IF_ERROR(store.add(name, Tensor(variable.shape)));
      } else if (!(slot->shape() == variable.shape)) {
        return {StatusCode::kBadData, fmt::format("slot {} is {}, expected {}", name,
                                                  slot->shape().to_string(), variable.shape.to_string())};
      }
    }
  }
  return {};
}

void Optimizer::bind(const Plan& plan, VariableStore& store) {
  plan_ = &plan;
  targets_.clear();
  target_of_.assign(plan.variables().size(), 0);
  for (size_t i = 0; i < plan.variables().size(); ++i) {
    const PlannedVariable& variable = plan.variables()[i];
    if (!variable.has_gradient()) continue;
    Target target{i, store.find(variable.name)->view(), {}, variable.decay, variable.moving_average};
    for (const std::string& name : slot_names(variable)) target.slots.push_back(store.find(name)->view());
    target_of_[i] = targets_.size();
    targets_.push_back(std::move(target));
  }
}

float Optimizer::clip_scale(const Executor& executor, int threads) const {
  if (options_.clip_norm <= 0) return 1.0F;
  // A norm that is not a number leaves the gradients as they are: the loss or the variables will tell.
  const double norm = global_gradient_norm(*plan_, executor, threads);
  return norm > options_.clip_norm ? static_cast<float>(options_.clip_norm / norm) : 1.0F;
}

void Optimizer::begin_step(int64_t step, double rate) {
  const auto t = static_cast<double>(step);
  rate_ = rate;
  adam_ = {
      .step = static_cast<float>(rate * std::sqrt(1.0 - std::pow(options_.beta2, t)) /
                                 (1.0 - std::pow(options_.beta1, t))),
      .beta1 = static_cast<float>(options_.beta1),
      .beta2 = static_cast<float>(options_.beta2),
      .epsilon = static_cast<float>(options_.epsilon),
  };
  sgd_ = {
      .learning_rate = static_cast<float>(rate),
      .momentum = static_cast<float>(options_.momentum),
      .nesterov = options_.nesterov,
  };
}

void Optimizer::take(size_t variable, int64_t begin, int64_t count, const float* gradient) {
  update(targets_[target_of_[variable]], begin, count, gradient);
}

std::array<const float*, 2> Optimizer::slots(size_t variable, int64_t begin) const {
  std::array<const float*, 2> places{};
  const std::vector<TensorView<float>>& slots = targets_[target_of_[variable]].slots;
  for (size_t i = 0; i < std::min(slots.size(), places.size()); ++i) places[i] = slots[i].data + begin;
  return places;
}

void Optimizer::update(const Target& target, int64_t begin, int64_t count, const float* gradient) const {
  const double decay = target.decay ? options_.weight_decay : 0.0;
  const auto at = [&](const TensorView<float>& view) { return view.data + begin; };
  if (target.moving_average) {
    move_average(count, *target.moving_average, gradient, at(target.variable));
    return;
  }
  if (options_.kind == OptimizerKind::kSgd) {
    SgdStep step = sgd_;
    step.weight_decay = static_cast<float>(decay);
    float* velocity = target.slots.empty() ? nullptr : at(target.slots[0]);
    sgd_update(count, step, gradient, at(target.variable), velocity);
    return;
  }
  AdamStep step = adam_;
  if (options_.kind == OptimizerKind::kAdamW) {
    step.decoupled_decay = static_cast<float>(rate_ * decay);
  } else {
    step.weight_decay = static_cast<float>(decay);
  }
  adam_update(count, step, gradient, at(target.variable), at(target.slots[0]), at(target.slots[1]));
}

void Optimizer::apply(const Executor& executor, int64_t step, double rate, int threads) {
  begin_step(step, rate);
  adam_.gradient_scale = sgd_.gradient_scale = clip_scale(executor, threads);
  for (const Target& target : targets_) {
    if (plan_->variables()[target.index].streamed) continue;
    const TensorView<const float> gradient = executor.gradient(target.index);
    for_elements(target.variable.size(), threads, [&](int64_t begin, int64_t end) {
      update(target, begin, end - begin, gradient.data + begin);
    });
  }
}

}  // namespace nacre
