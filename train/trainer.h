#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "engine/checkpoint.h"
#include "engine/graph.h"
#include "engine/op_def.h"
#include "train/augment.h"
#include "train/dataset.h"
#include "train/evaluate.h"
#include "train/loss.h"
#include "train/optimizer.h"

namespace nacre {

/// Whether every image counts the same in the loss, or every class.
enum class ClassWeights : uint8_t { kNone, kBalanced };
std::span<const EnumName<ClassWeights>> enum_names(ClassWeights);

struct TrainOptions {
  int64_t batch_size = 100;
  int64_t epochs = 0;  ///< stop after this many, unless `steps` is given
  int64_t steps = 0;   ///< stop after this many; 0: `epochs` decides, and must be given
  OptimizerOptions optimizer;
  double label_smoothing = 0;  ///< see LossOptions; of training, never of validation
  ClassWeights class_weights = ClassWeights::kNone;
  Augmentation augmentation;
  bool shuffle = true;
  int64_t validate_every = 0;              ///< steps; 0: at the end of each epoch
  std::optional<double> stop_at_accuracy;  ///< of validation
  int64_t patience = 0;          ///< stop after this many validations without a better accuracy; 0: never
  int64_t checkpoint_every = 0;  ///< steps; 0: at the end of each epoch
  int threads = 1;
  bool reference = false;  ///< run the layers' readable implementations (NACRE_ISA=reference)
};

/// One step, as metrics.jsonl records it.
struct StepReport {
  int64_t step = 0;         ///< from 1
  int64_t total_steps = 0;  ///< the run ends here at the latest
  int64_t epoch = 0;        ///< that the step belonged to, from 0
  bool last_in_epoch = false;
  double loss = 0;      ///< of the batch, with augmentation, dropout, label smoothing and class weights
  double accuracy = 0;  ///< of the batch
  double learning_rate = 0;
  double images_per_second = 0;  ///< over the last few seconds of training steps
  /// Until total_steps, if steps go on at this rate and each validation takes as long as the last one did
  /// (none is counted before the first).
  double seconds_left = 0;
  std::optional<Evaluation> validation;
  double validation_seconds = 0;  ///< that it took
};

/// Told what happens, as it happens, in the training thread. An error ends the run and is its result.
class TrainObserver {
 public:
  virtual ~TrainObserver() = default;
  virtual Status on_step(const StepReport&) { return {}; }
  /// A checkpoint is due. `best`: it has the best validation accuracy so far.
  virtual Status on_checkpoint(const Checkpoint&, bool /*best*/) { return {}; }
};

enum class StopReason : uint8_t { kFinished, kReachedAccuracy, kNoImprovement, kStopRequested };

struct TrainResult {
  StopReason reason = StopReason::kFinished;
  int64_t steps = 0;  ///< of the run, those before a resume too
  double training_seconds =
      0;  ///< of this process: steps and waiting for data, without validation and checkpoints
  double images_per_second = 0;   ///< mean over that time
  double validation_seconds = 0;  ///< of this process, beside training_seconds
  std::optional<Evaluation> last_validation;
};

/// Trains `graph`, whose output is logits [N, classes], with softmax cross-entropy, going on from
/// `checkpoint`: its variables (all of the graph's must be there; Plan::initial_variables makes them), its
/// slots (made when missing) and its state (a fresh one starts at step 0). On return `checkpoint` is where
/// the run stands.
///
/// The result depends on graph, data, options other than `threads`, and seed alone: not on the number of
/// threads, and not on whether the run was interrupted and went on from a checkpoint.
///
/// Checkpoints are handed out at the end, at every `checkpoint_every` steps, whenever validation is best, and
/// when `stop_requested` (called after every step) returns true. Errors: kDiverged with step and image names
/// when the loss is not finite, or a score in validation, or a variable at a checkpoint: the last checkpoint
/// handed out stays the last good one; kBadData for data that cannot be read; those of the observers.
Result<TrainResult> train(const Graph& graph, const Registry& registry,
                          const std::shared_ptr<const Dataset>& data,
                          const std::shared_ptr<const Dataset>& validation, const TrainOptions& options,
                          Checkpoint& checkpoint, std::span<TrainObserver* const> observers,
                          const std::function<bool()>& stop_requested);

/// kBadData unless a graph's output fits the data: [N, classes].
Status check_output(const Shape& output, int64_t classes);

/// Steps that the options ask for with `size` images: the end of the run.
int64_t total_steps(const TrainOptions& options, int64_t size);

}  // namespace nacre
