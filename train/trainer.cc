#include "train/trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <limits>
#include <utility>

#include "engine/finite.h"
#include "engine/packed_variables.h"
#include "engine/parallel.h"
#include "engine/shape_text.h"
#include "train/loader.h"
#include "train/loss.h"

namespace nacre {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// Images per second over the last few seconds: what is older counts half as much every kWindow seconds.
class RateMeter {
 public:
  void add(int64_t images, double seconds) {
    constexpr double kWindow = 4.0;
    images_ += static_cast<double>(images);
    seconds_ += seconds;
    if (seconds_ > kWindow) {
      images_ *= 0.5;
      seconds_ *= 0.5;
    }
  }
  [[nodiscard]] double images_per_second() const { return seconds_ > 0 ? images_ / seconds_ : 0; }

 private:
  double images_ = 0;
  double seconds_ = 0;
};

Status check_finite(const VariableStore& store, uint64_t step) {
  for (const auto& [name, tensor] : store.tensors()) {
    if (!all_finite(tensor.size(), tensor.data())) {
      return {StatusCode::kDiverged, fmt::format("step {}: variable {} is no longer finite", step, name)};
    }
  }
  return {};
}

/// Validations after step `done` of `total`, one of them at the end.
int64_t validations_left(int64_t done, int64_t total, int64_t every) {
  return done == total ? 0 : (total - 1) / every + 1 - done / every;
}

int64_t batches_per_epoch(const TrainOptions& options, int64_t size) {
  return (size - 1) / std::min(options.batch_size, size) + 1;
}

/// "a.jpg, b.jpg, c.jpg and 97 more".
std::string image_names(const Dataset& data, std::span<const int64_t> samples) {
  constexpr size_t kMostNamed = 3;
  std::string text;
  for (size_t i = 0; i < std::min(kMostNamed, samples.size()); ++i) {
    text += (i == 0 ? "" : ", ") + data.name(samples[i]);
  }
  if (samples.size() > kMostNamed) text += fmt::format(" and {} more", samples.size() - kMostNamed);
  return text;
}

/// The state of one call of train().
class Training {
 public:
  Training(const Graph& graph, const Registry& registry, std::shared_ptr<const Dataset> data,
           std::shared_ptr<const Dataset> validation, const TrainOptions& options, Checkpoint& checkpoint,
           std::span<TrainObserver* const> observers)
      : graph_(graph),
        registry_(registry),
        data_(std::move(data)),
        validation_(std::move(validation)),
        options_(options),
        checkpoint_(checkpoint),
        observers_(observers),
        optimizer_(options.optimizer) {}

  Status prepare();
  Result<TrainResult> run(const std::function<bool()>& stop_requested);

 private:
  Status step(const Batch& batch, StepReport& report);
  Status validate(StepReport& report, bool in_turn, bool& best);
  Status hand_out_checkpoint(bool best);
  Status keep_steps(const Status& error, const StepReport* unreported);
  [[nodiscard]] StopReason early_end() const;

  const Graph& graph_;
  const Registry& registry_;
  std::shared_ptr<const Dataset> data_;
  std::shared_ptr<const Dataset> validation_;
  const TrainOptions& options_;
  Checkpoint& checkpoint_;
  std::span<TrainObserver* const> observers_;
  Optimizer optimizer_;
  int64_t total_ = 0;
  std::optional<Plan> plan_;
  std::optional<Plan> validation_plan_;
  std::optional<Executor> executor_;
  std::optional<Executor> validation_executor_;
  Tensor grad_logits_;
  LossOptions loss_;
  TrainResult result_;
  uint64_t kept_step_ = 0;  ///< of the last checkpoint
};

Status Training::prepare() {
  if (options_.batch_size < 1) {
    return {StatusCode::kUsage,
            fmt::format("a batch of {} images, expected at least 1", options_.batch_size)};
  }
  total_ = total_steps(options_, data_->size());
  if (total_ <= 0) return {StatusCode::kUsage, "neither epochs nor steps say when training ends"};
  PlanOptions plan_options;
  plan_options.batch = std::min(options_.batch_size, data_->size());
  plan_options.mode = Mode::kTraining;
  plan_options.threads = options_.threads;
  plan_options.reference = options_.reference;
  plan_options.stream_gradients = optimizer_.can_stream();
  const InputContract& contract = data_->contract();
  const Shape row{contract.height, contract.width, contract.channels};
  NACRE_ASSIGN_OR_RETURN(plan_, Plan::make(graph_, registry_, row, plan_options));
  const Shape& output = plan_->output_shape();
  const auto classes = static_cast<int64_t>(data_->labels().size());
  NACRE_RETURN_IF_ERROR(check_output(output, classes));
  // A checkpoint just read refers to its file.
  checkpoint_.variables = checkpoint_.variables.clone();
  NACRE_RETURN_IF_ERROR(optimizer_.add_slots(*plan_, checkpoint_.variables));
  executor_.emplace(*plan_);
  NACRE_RETURN_IF_ERROR(executor_->bind(checkpoint_.variables));
  optimizer_.bind(*plan_, checkpoint_.variables);
  grad_logits_ = Tensor(output);
  loss_.label_smoothing = options_.label_smoothing;
  if (options_.class_weights == ClassWeights::kBalanced) {
    loss_.class_weights = balanced_class_weights(data_->class_counts());
  }
  if (validation_ != nullptr) {
    // Found now instead of after the first epoch.
    if (validation_->labels().size() != data_->labels().size() ||
        validation_->image_floats() != data_->image_floats()) {
      return {StatusCode::kBadData,
              fmt::format(
                  "the validation data has {} classes and images of {} numbers, expected {} and {} as "
                  "in the training data",
                  validation_->labels().size(), validation_->image_floats(), classes, data_->image_floats())};
    }
    plan_options.mode = Mode::kInference;
    plan_options.stream_gradients = false;
    plan_options.batch = std::min(options_.batch_size, validation_->size());
    NACRE_ASSIGN_OR_RETURN(validation_plan_, Plan::make(graph_, registry_, row, plan_options));
    NACRE_RETURN_IF_ERROR(validation_plan_->check_variables(checkpoint_.variables));
    validation_executor_.emplace(*validation_plan_);
  }
  return {};
}

Status Training::step(const Batch& batch, StepReport& report) {
  StepContext context;
  context.mode = Mode::kTraining;
  context.threads = options_.threads;
  context.seed = checkpoint_.state.seed;
  context.epoch = static_cast<uint64_t>(batch.epoch);
  context.samples = batch.samples;
  const TensorView<const float> images{batch.images, plan_->input_shape().with_batch(batch.n)};
  const TensorView<const float> logits = executor_->forward(images, context);
  const TensorView<float> grad{grad_logits_.data(), logits.shape};
  const LossResult loss =
      softmax_cross_entropy(logits, {batch.labels, static_cast<size_t>(batch.n)}, grad, loss_);
  if (!std::isfinite(loss.loss)) {
    return {StatusCode::kDiverged, fmt::format("step {}: the loss is {}; the batch was {}", report.step,
                                               loss.loss, image_names(*data_, batch.samples))};
  }
  report.learning_rate = learning_rate_at(options_.optimizer, report.step, total_);
  optimizer_.begin_step(report.step, report.learning_rate);
  executor_->backward(images, grad, context, &optimizer_);
  optimizer_.apply(*executor_, report.step, report.learning_rate, options_.threads);

  report.loss = loss.loss;
  report.accuracy = static_cast<double>(loss.correct) / static_cast<double>(batch.n);
  TrainingState& state = checkpoint_.state;
  state.step = static_cast<uint64_t>(report.step);
  state.epoch = static_cast<uint64_t>(batch.epoch) + (batch.last_in_epoch ? 1 : 0);
  state.batch_in_epoch = batch.last_in_epoch ? 0 : static_cast<uint64_t>(batch.index) + 1;
  return {};
}

/// `in_turn`: a run that goes on after this step, or never stopped here, validates here as well.
Status Training::validate(StepReport& report, bool in_turn, bool& best) {
  const Clock::time_point start = Clock::now();
  // Training has changed the variables since the last one.
  const PackedVariables packed(*validation_plan_, checkpoint_.variables, options_.threads);
  NACRE_RETURN_IF_ERROR(validation_executor_->bind(checkpoint_.variables, &packed));
  Result<Evaluation> evaluation = evaluate(*validation_executor_, *validation_plan_, validation_,
                                           options_.threads, /*probabilities=*/false);
  if (evaluation.status().code() == StatusCode::kDiverged) {
    return evaluation.status().at(fmt::format("step {}: validation", report.step));
  }
  if (!evaluation.ok()) return evaluation.status();
  report.validation = std::move(evaluation).value();
  report.validation_seconds = seconds_since(start);
  result_.validation_seconds += report.validation_seconds;
  TrainingState& state = checkpoint_.state;
  best = report.validation->accuracy() > state.best_accuracy;
  if (best) {
    state.best_accuracy = report.validation->accuracy();
    state.best_step = state.step;
    state.validations_since_best = 0;
  } else if (in_turn) {
    ++state.validations_since_best;
  }
  return {};
}

Status Training::hand_out_checkpoint(bool best) {
  NACRE_RETURN_IF_ERROR(check_finite(checkpoint_.variables, checkpoint_.state.step));
  for (TrainObserver* observer : observers_)
    NACRE_RETURN_IF_ERROR(observer->on_checkpoint(checkpoint_, best));
  kept_step_ = checkpoint_.state.step;
  return {};
}

/// Data that cannot be read ends the run, but costs no step that was done.
Status Training::keep_steps(const Status& error, const StepReport* unreported) {
  if (error.code() == StatusCode::kDiverged || checkpoint_.state.step == kept_step_) return error;
  // The first error is the one to tell of.
  for (TrainObserver* observer : observers_) {
    if (unreported != nullptr && !observer->on_step(*unreported).ok()) return error;
  }
  static_cast<void>(hand_out_checkpoint(/*best=*/false));
  return error;
}

/// Why the run needs no further step, kFinished when it does. By its state alone: so a resumed run stops
/// where an uninterrupted one does.
StopReason Training::early_end() const {
  const TrainingState& state = checkpoint_.state;
  if (state.best_accuracy < 0) return StopReason::kFinished;
  if (options_.stop_at_accuracy.has_value() && state.best_accuracy >= *options_.stop_at_accuracy) {
    return StopReason::kReachedAccuracy;
  }
  const bool enough = validation_ != nullptr && options_.patience > 0 &&
                      state.validations_since_best >= static_cast<uint64_t>(options_.patience);
  return enough ? StopReason::kNoImprovement : StopReason::kFinished;
}

Result<TrainResult> Training::run(const std::function<bool()>& stop_requested) {
  TrainingState& state = checkpoint_.state;
  result_.steps = static_cast<int64_t>(state.step);
  kept_step_ = state.step;
  result_.reason = early_end();
  if (result_.reason != StopReason::kFinished || state.step >= static_cast<uint64_t>(total_)) return result_;

  LoaderOptions loading;
  loading.batch_size = std::min(options_.batch_size, data_->size());
  loading.shuffle = options_.shuffle;
  loading.seed = state.seed;
  loading.augmentation = options_.augmentation;
  loading.workers = loader_workers(*data_, options_.threads);
  loading.threads = options_.threads;
  loading.start_epoch = static_cast<int64_t>(state.epoch);
  loading.start_batch = static_cast<int64_t>(state.batch_in_epoch);
  NACRE_ASSIGN_OR_RETURN(const std::unique_ptr<BatchLoader> loader, BatchLoader::make(data_, loading));

  RateMeter rate;
  int64_t images = 0;
  double one_validation = 0;  // seconds
  const int64_t validation_interval =
      options_.validate_every > 0 ? options_.validate_every : batches_per_epoch(options_, data_->size());
  for (int64_t number = result_.steps + 1; number <= total_; ++number) {
    const Clock::time_point start = Clock::now();
    const Result<const Batch*> next = loader->next();
    if (!next.ok()) return keep_steps(next.status(), nullptr);
    const Batch* batch = *next;
    StepReport report;
    report.step = number;
    report.total_steps = total_;
    report.epoch = batch->epoch;
    report.last_in_epoch = batch->last_in_epoch;
    NACRE_RETURN_IF_ERROR(step(*batch, report));
    const double seconds = seconds_since(start);
    result_.training_seconds += seconds;
    images += batch->n;
    rate.add(batch->n, seconds);
    report.images_per_second = rate.images_per_second();

    const bool stopping = stop_requested();
    const bool last = number == total_;
    const auto due = [&](int64_t every) { return every > 0 ? number % every == 0 : batch->last_in_epoch; };
    bool best = false;
    if (const bool in_turn = due(options_.validate_every); validation_ != nullptr && (in_turn || last)) {
      if (const Status validated = validate(report, in_turn, best); !validated.ok()) {
        return keep_steps(validated, &report);
      }
    }
    if (report.validation.has_value()) one_validation = report.validation_seconds;
    report.seconds_left =
        static_cast<double>(total_ - number) * static_cast<double>(loading.batch_size) /
            report.images_per_second +
        static_cast<double>(validations_left(number, total_, validation_interval)) * one_validation;
    for (TrainObserver* observer : observers_) NACRE_RETURN_IF_ERROR(observer->on_step(report));
    const StopReason reason = report.validation.has_value() ? early_end() : StopReason::kFinished;
    const bool enough = reason != StopReason::kFinished;
    if (due(options_.checkpoint_every) || best || last || stopping || enough) {
      NACRE_RETURN_IF_ERROR(hand_out_checkpoint(best));
    }
    result_.steps = number;
    result_.images_per_second = static_cast<double>(images) / result_.training_seconds;
    if (report.validation.has_value()) result_.last_validation = std::move(report.validation);
    if (stopping && !last) result_.reason = StopReason::kStopRequested;
    if (enough) result_.reason = reason;
    if (enough || stopping) break;
  }
  return result_;
}

}  // namespace

std::span<const EnumName<ClassWeights>> enum_names(ClassWeights) {
  static constexpr std::array<EnumName<ClassWeights>, 2> kNames{
      {{ClassWeights::kNone, "none"}, {ClassWeights::kBalanced, "balanced"}}};
  return kNames;
}

int64_t total_steps(const TrainOptions& options, int64_t size) {
  if (options.steps > 0) return options.steps;
  const int64_t batches = batches_per_epoch(options, size);
  // More steps than anyone will wait for; the product would overflow.
  if (options.epochs > std::numeric_limits<int64_t>::max() / batches)
    return std::numeric_limits<int64_t>::max();
  return options.epochs * batches;
}

Result<TrainResult> train(const Graph& graph, const Registry& registry,
                          const std::shared_ptr<const Dataset>& data,
                          const std::shared_ptr<const Dataset>& validation, const TrainOptions& options,
                          Checkpoint& checkpoint, std::span<TrainObserver* const> observers,
                          const std::function<bool()>& stop_requested) {
  Training training(graph, registry, data, validation, options, checkpoint, observers);
  NACRE_RETURN_IF_ERROR(training.prepare());
  Result<TrainResult> result = TrainResult{};
  with_team(options.threads, [&] { result = training.run(stop_requested); });
  return result;
}

Status check_output(const Shape& output, int64_t classes) {
  if (output.rank() == 2 && output[1] == classes) return {};
  return {StatusCode::kBadData,
          fmt::format("the output is {}, but the data has {} {} (expected [N, {}])", batch_shape(output),
                      classes, classes == 1 ? "class" : "classes", classes)};
}

}  // namespace nacre
