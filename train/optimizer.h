#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/executor.h"
#include "engine/plan.h"
#include "engine/variable_store.h"
#include "engine/vector_math.h"

namespace nacre {

enum class OptimizerKind : uint8_t { kSgd, kAdam, kAdamW };
std::span<const EnumName<OptimizerKind>> enum_names(OptimizerKind);

/// How the learning rate goes over a run of `total` steps, after the warm-up: the same all along; a tenth
/// from half and a hundredth from three quarters of it; or down a half cosine to 0 (Loshchilov, Hutter:
/// "SGDR", 2017, without restarts).
enum class LearningRateSchedule : uint8_t { kConstant, kStep, kCosine };
std::span<const EnumName<LearningRateSchedule>> enum_names(LearningRateSchedule);

struct OptimizerOptions {
  OptimizerKind kind = OptimizerKind::kSgd;
  double learning_rate = 0.01;
  double momentum = 0;    ///< SGD
  bool nesterov = false;  ///< SGD with momentum
  /// Of kernels, not of biases. SGD and Adam: adds weight_decay * w to the gradient (L2). AdamW: takes rate *
  /// weight_decay * w from w.
  double weight_decay = 0;
  double beta1 = 0.9;     ///< Adam
  double beta2 = 0.999;   ///< Adam
  double epsilon = 1e-8;  ///< Adam
  LearningRateSchedule schedule = LearningRateSchedule::kConstant;
  int64_t warmup_steps = 0;  ///< steps over which the rate rises linearly from 0
  /// Bound on the norm of all gradients together, before weight decay; 0: none. Larger ones are scaled down
  /// to it (tf.clip_by_global_norm).
  double clip_norm = 0;
};

/// The learning rate of step `step` (from 1) of `total`.
double learning_rate_at(const OptimizerOptions& options, int64_t step, int64_t total);

/// The norm of all gradients of trainable variables together: sqrt(sum g^2), summed in double over chunks of
/// a fixed size, so that it does not depend on `threads`.
double global_gradient_norm(const Plan& plan, const Executor& executor, int threads);

/// Updates variables from gradients, by the formulas of engine/vector_math.h. Its slots are variables of the
/// store: `conv1/kernel/momentum` (SGD with momentum), `.../adam_m` and `.../adam_v` (Adam and AdamW). SGD
/// with momentum is TensorFlow's MomentumOptimizer; Adam is its AdamOptimizer, with the step size rate *
/// sqrt(1 - beta2^t) / (1 - beta1^t) at step t, from 1. Moving averages (VariableSpec::moving_average) follow
/// their statistic, whatever the kind.
///
/// Gradients that a plan streams (PlanOptions::stream_gradients) are taken during backward, between
/// begin_step and apply; the others by apply.
class Optimizer final : public GradientSink {
 public:
  explicit Optimizer(const OptimizerOptions& options) : options_(options) {}

  /// Whether a plan may stream gradients to this: not when the norm of all must be known first.
  [[nodiscard]] bool can_stream() const { return options_.clip_norm <= 0; }

  /// The slots that training `variable` needs, as names.
  [[nodiscard]] std::vector<std::string> slot_names(const PlannedVariable& variable) const;
  /// Adds every slot that `store` lacks, zeroed; kBadData when one is there with another shape.
  Status add_slots(const Plan& plan, VariableStore& store) const;
  /// Finds variables and slots in `store`, which with `plan` must outlive this and keep its tensors. Call
  /// after add_slots.
  void bind(const Plan& plan, VariableStore& store);
  /// Prepares step `step`, from 1, before its backward; needed when the plan streams.
  void begin_step(int64_t step, double rate);
  void take(size_t variable, int64_t begin, int64_t count, const float* gradient) override;
  [[nodiscard]] std::array<const float*, 2> slots(size_t variable, int64_t begin) const override;
  /// The update of a step with the executor's gradients. Elements are independent: the result does not depend
  /// on `threads`.
  void apply(const Executor& executor, int64_t step, double rate, int threads);

 private:
  struct Target {
    size_t index;  ///< in Plan::variables()
    TensorView<float> variable;
    std::vector<TensorView<float>> slots;
    bool decay;
    std::optional<double> moving_average;
  };
  [[nodiscard]] float clip_scale(const Executor& executor, int threads) const;
  /// Elements [begin, begin + count), from their gradients.
  void update(const Target& target, int64_t begin, int64_t count, const float* gradient) const;

  OptimizerOptions options_;
  const Plan* plan_ = nullptr;
  std::vector<Target> targets_;
  std::vector<size_t> target_of_;  // of each variable of the plan
  double rate_ = 0;                // of the step at work
  AdamStep adam_{};
  SgdStep sgd_{};
};

}  // namespace nacre
