#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "tests/train/train_fixture.h"
#include "train/trainer.h"

namespace nacre {

/// Keeps all that training tells.
class Recorder : public TrainObserver {
 public:
  Status on_step(const StepReport& report) override {
    steps.push_back(report);
    return report.step == fail_at_step ? Status(StatusCode::kIo, "disk full") : Status();
  }
  Status on_checkpoint(const Checkpoint& checkpoint, bool best) override {
    Checkpoint copy = checkpoint_copy(checkpoint);
    checkpoint_steps.push_back(static_cast<int64_t>(copy.state.step));
    if (best) best_steps.push_back(static_cast<int64_t>(copy.state.step));
    checkpoints.push_back(std::move(copy));
    return checkpoint_steps.back() == fail_at_checkpoint ? Status(StatusCode::kIo, "disk full") : Status();
  }
  static Checkpoint checkpoint_copy(const Checkpoint& checkpoint) {
    Checkpoint copy;
    copy.variables = checkpoint.variables.clone();
    copy.state = checkpoint.state;
    return copy;
  }

  std::vector<StepReport> steps;
  std::vector<Checkpoint> checkpoints;
  std::vector<int64_t> checkpoint_steps;
  std::vector<int64_t> best_steps;
  int64_t fail_at_step = -1;
  int64_t fail_at_checkpoint = -1;
};

inline TrainOptions options_of(OptimizerKind kind, double rate, int64_t epochs) {
  TrainOptions options;
  options.batch_size = 5;
  options.epochs = epochs;
  options.optimizer.kind = kind;
  options.optimizer.learning_rate = rate;
  return options;
}

inline Result<TrainResult> run(
    const Graph& graph, const std::shared_ptr<const Dataset>& data,
    const std::shared_ptr<const Dataset>& validation, const TrainOptions& options, Checkpoint& checkpoint,
    Recorder& recorder, const std::function<bool()>& stop = [] { return false; }) {
  const std::vector<TrainObserver*> observers{&recorder};
  return train(graph, layers(), data, validation, options, checkpoint, observers, stop);
}

}  // namespace nacre
