#include "train/optimizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "engine/parallel.h"

namespace nacre {
namespace {

constexpr int64_t kChunk = 1 << 14;  // elements of a variable that one thread updates at a time

/// Runs update(begin, end) over [0, size) in chunks.
template <typename Update>
void in_chunks(int64_t size, int threads, const Update& update) {
  parallel_for((size + kChunk - 1) / kChunk, threads,
               [&](int64_t chunk, int) { update(chunk * kChunk, std::min(size, (chunk + 1) * kChunk)); });
}

}  // namespace

std::span<const EnumName<OptimizerKind>> enum_names(OptimizerKind) {
  static constexpr std::array<EnumName<OptimizerKind>, 2> kNames{
      {{OptimizerKind::kSgd, "sgd"}, {OptimizerKind::kAdam, "adam"}}};
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

std::vector<std::string> Optimizer::slot_names(const PlannedVariable& variable) const {
  if (!variable.trainable) return {};
  if (options_.kind == OptimizerKind::kAdam) return {variable.name + "/adam_m", variable.name + "/adam_v"};
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
  targets_.clear();
  for (size_t i = 0; i < plan.variables().size(); ++i) {
    const PlannedVariable& variable = plan.variables()[i];
    if (!variable.trainable) continue;
    Target target{i, store.find(variable.name)->view(), {}, variable.decay};
    for (const std::string& name : slot_names(variable)) target.slots.push_back(store.find(name)->view());
    targets_.push_back(std::move(target));
  }
}

void Optimizer::apply(const Executor& executor, int64_t step, double rate, int threads) {
  const auto t = static_cast<double>(step);
  const auto beta1 = static_cast<float>(options_.beta1);
  const auto beta2 = static_cast<float>(options_.beta2);
  const float one_minus_beta1 = 1.0F - beta1;
  const float one_minus_beta2 = 1.0F - beta2;
  const auto epsilon = static_cast<float>(options_.epsilon);
  const auto adam_rate = static_cast<float>(rate * std::sqrt(1.0 - std::pow(options_.beta2, t)) /
                                            (1.0 - std::pow(options_.beta1, t)));
  const auto sgd_rate = static_cast<float>(rate);
  const auto momentum = static_cast<float>(options_.momentum);
  for (const Target& target : targets_) {
    float* w = target.variable.data;
    const float* gradient = executor.gradient(target.index).data;
    const auto decay = target.decay ? static_cast<float>(options_.weight_decay) : 0.0F;
    if (options_.kind == OptimizerKind::kAdam) {
      float* m = target.slots[0].data;
      float* v = target.slots[1].data;
      in_chunks(target.variable.size(), threads, [=](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          const float g = gradient[i] + decay * w[i];
          m[i] = beta1 * m[i] + one_minus_beta1 * g;
          v[i] = beta2 * v[i] + one_minus_beta2 * (g * g);
          w[i] -= adam_rate * m[i] / (std::sqrt(v[i]) + epsilon);
        }
      });
    } else if (!target.slots.empty()) {
      float* b = target.slots[0].data;
      in_chunks(target.variable.size(), threads, [=](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          b[i] = momentum * b[i] + (gradient[i] + decay * w[i]);
          w[i] -= sgd_rate * b[i];
        }
      });
    } else {
      in_chunks(target.variable.size(), threads, [=](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) w[i] -= sgd_rate * (gradient[i] + decay * w[i]);
      });
    }
  }
}

}  // namespace nacre
