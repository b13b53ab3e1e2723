#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/session.h"
#include "engine/bundle.h"
#include "engine/checkpoint.h"
#include "layers/model_file.h"
#include "serialize/file_kind.h"
#include "serialize/read_options.h"

namespace nacre {

/// Which checkpoint a run folder stands for.
enum class RunCheckpoint : uint8_t {
  kBest,    ///< `checkpoints/best`, or `latest` when there was no validation
  kLatest,  ///< `checkpoints/latest`
};

/// `file` itself, or, when it is a folder, the path of its checkpoint. kBadData when the folder is no run
/// folder, has no checkpoint yet, or its link leads to none (naming the newest one); kIo when `file` is not
/// there.
Result<std::string> resolve_model_file(const std::string& file, RunCheckpoint which = RunCheckpoint::kBest);

/// Reads the checkpoint at `path`, which resolve_model_file has found for `file`. Where it is damaged and
/// `file` is a run folder, the error (kCorrupt) names the newest checkpoint that can be read.
Result<Checkpoint> read_model_checkpoint(const std::string& file, const std::string& path,
                                         const ReadOptions& options = {});

/// The run folder that the checkpoint lies in (RUN/checkpoints/NAME with RUN/config.json), if any.
std::optional<std::string> run_folder_of(const std::string& checkpoint);

/// The parts of a run folder's config.json that other commands need: its keys "model" and "labels".
struct RunConfig {
  ModelDescription model;
  std::vector<std::string> labels;
};
/// kBadData `RUN/config.json: reason` when it is not what `train` writes; kIo when it cannot be read.
Result<RunConfig> read_run_config(const std::string& run_folder, const Registry& registry);

struct OpenOptions {
  std::string model;  ///< of --model: a preset or model file for a checkpoint's graph; empty: see open_model
  RunCheckpoint which = RunCheckpoint::kBest;
  ReadOptions read;
};

/// A model ready for prediction, whatever file it came from.
struct OpenedModel {
  FileKind kind = FileKind::kBundle;  ///< kBundle or kCheckpoint
  std::string path;                   ///< of the file that was read: a run folder's checkpoint
  /// Graph for prediction, its variables (no slots, none that the graph does not use), contract with labels.
  /// Of a checkpoint: without golden vectors and provenance. Variables are borrowed.
  Bundle model;
  // Of a checkpoint only:
  Graph training_graph;  ///< before it was redrawn
  TrainingState state;
  std::string recipe;         ///< JSON text of the run's config.json
  std::string nacre_version;  ///< that wrote it
};

/// Opens FILE: a bundle, a checkpoint or a run folder, told by content. A checkpoint's graph comes from
/// options.model, else from the config.json of the run folder that it lies in, else the error says that it
/// needs --model. Every variable of the graph is there with its shape. Errors are `FILE[:where]: reason`.
Result<OpenedModel> open_model(const Session& session, const std::string& file,
                               const OpenOptions& options = {});

}  // namespace nacre
