#pragma once

#include <cstdint>
#include <string>

#include "engine/input_contract.h"
#include "engine/variable_store.h"

namespace nacre {

/// Where a run stands: with the variables and slots, all that is needed to go on bit for bit.
struct TrainingState {
  uint64_t step = 0;            ///< steps done
  uint64_t epoch = 0;           ///< epoch that the next batch belongs to, from 0
  uint64_t batch_in_epoch = 0;  ///< index of the next batch in it
  uint64_t seed = 0;            ///< of initial values, order, augmentation and dropout
  std::string data_digest;      ///< of the training data's list (hexadecimal)
  double best_accuracy = -1;    ///< best validation accuracy so far; -1 when there was no validation
  uint64_t best_step = 0;       ///< step of that accuracy
  /// Validations since then that were no better, but for one out of turn at a run's end.
  uint64_t validations_since_best = 0;

  [[nodiscard]] bool operator==(const TrainingState&) const = default;
};

/// What a checkpoint file holds: variables and slots, the state of the run, the input contract and the
/// recipe; no graph.
struct Checkpoint {
  VariableStore variables;
  TrainingState state;
  InputContract contract;
  std::string recipe;         ///< JSON object: the run's training options, without model and paths
  std::string nacre_version;  ///< that wrote it
};

}  // namespace nacre
