#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/tensorboard.h"
#include "engine/status.h"
#include "train/augment.h"
#include "train/optimizer.h"
#include "train/trainer.h"

namespace nacre {

/// What an option of `nacre train` decides, and so where it may stand and whether it may change on --resume.
enum class OptionRole : uint8_t {
  kPlace,    ///< which files and what to do with them: not part of a recipe, never compared
  kSwitch,   ///< how this one start goes about it: on the command line only
  kWeights,  ///< the weights depend on it: a resumed run must keep it
  kLength,   ///< when to stop, to validate, to save, how much bad data to bear: may change on resume
  kMachine,  ///< speed and memory only: not part of a recipe
};

/// Options of `nacre train`. The one list of them is visit(): the command line, recipes of model files,
/// --config files and config.json are all made from it. Names are those of the command line without "--".
struct TrainSettings {
  std::string model;
  std::string data;
  std::string validation;
  std::string image_root;
  std::string out;
  std::string config;
  std::string init_from;
  std::string map;
  std::string labels;
  bool resume = false;
  bool force = false;
  bool overwrite = false;
  int64_t epochs = 0;  ///< 0: not given
  int64_t steps = 0;   ///< 0: not given
  int64_t batch_size = 100;
  OptimizerKind optimizer = OptimizerKind::kAdam;
  std::optional<double> learning_rate;  ///< without: the optimizer's usual one
  double momentum = 0;
  bool nesterov = false;
  double weight_decay = 0;
  LearningRateSchedule lr_schedule = LearningRateSchedule::kConstant;
  int64_t warmup_steps = 0;
  double label_smoothing = 0;
  ClassWeights class_weights = ClassWeights::kNone;
  double clip_norm = 0;  ///< 0: none
  std::string augment = "none";
  bool exif_orient = false;
  int64_t seed = 0;
  bool no_shuffle = false;
  int64_t skip_bad = 0;
  int64_t validate_every = 0;
  std::optional<double> stop_at_accuracy;
  int64_t patience = 0;  ///< 0: none
  int64_t checkpoint_every = 0;
  int64_t keep = 5;
  EventDetail events = EventDetail::kScalars;
  int64_t threads = 0;  ///< 0: not given
  int64_t cache_mib = 1024;

  template <typename Visitor>
  void visit(Visitor& v) {
    constexpr int64_t kMany = int64_t{1} << 40;
    using enum OptionRole;
    v.group("Data");
    v.field("data", kPlace, data, "PATH",
            "training data: a folder with a sub-folder of images for each class, a CSV list "
            "(file,label-name,label-number) or a folder of IDX files");
    v.field("validation", kPlace, validation, "PATH|X",
            "validation data: the like, or a fraction such as 0.2 that is split off every class of --data by "
            "chance "
            "(default: the t10k-* files of --data, if any)");
    v.field("image-root", kPlace, image_root, "DIR",
            "folder that a CSV's file names start from (default: the CSV's own)");
    v.field("labels", kSwitch, labels, "FILE",
            "class names, one a line, in the order of the outputs (default: as the data has them)");
    v.field("skip-bad", kLength, skip_bad, 0, kMany, "leave out up to N bad lines or images, and list them");
    v.field("exif-orient", kWeights, exif_orient,
            "turn images upright as EXIF says, here and wherever the model is used");
    v.field("no-shuffle", kWeights, no_shuffle, "keep the order of the list in every epoch");
    v.field("augment", kWeights, augment, "LIST",
            "random changes to training images: none, or any of flip, brightness=0.5, contrast=0.2:2.0, "
            "hue=0.08, saturation=0.2:2.0, crop=4, joined by commas");
    v.group("Model and run folder");
    v.field("model", kPlace, model, "PRESET|FILE",
            "what to train: a preset (see nacre models) or a model file");
    v.field("init-from", kPlace, init_from, "FILE",
            "start from the variables of a checkpoint (TensorFlow's too), run folder or bundle; layers of "
            "the size of "
            "the number of classes start anew when the classes are others");
    v.field("map", kPlace, map, "FILE",
            "with --init-from a TensorFlow checkpoint: JSON object of nacre's names and those in it");
    v.field("out", kSwitch, out, "RUN", "folder to write the run to");
    v.field("resume", kSwitch, resume, "go on from the run's latest checkpoint");
    v.field("force", kSwitch, force, "with --resume: go on although data or options differ");
    v.field("overwrite", kSwitch, overwrite, "replace a run that is there");
    v.field("config", kSwitch, config, "FILE",
            "take options from a JSON file, such as another run's config.json");
    v.group("Training");
    v.field("epochs", kLength, epochs, 1, 1000000000,
            "passes over the data (default: 10, or as --steps says)");
    v.field("steps", kLength, steps, 1, kMany, "steps of one batch, instead of --epochs");
    v.field("batch-size", kWeights, batch_size, 1, 1 << 20, "images of a step");
    v.field("optimizer", kWeights, optimizer, "how weights follow gradients");
    v.field("learning-rate", kWeights, learning_rate, 0.0, 1e6,
            "size of a step (default: 0.001 with adam and adamw, 0.01 with sgd)");
    v.field("momentum", kWeights, momentum, 0.0, 1.0, "momentum of sgd");
    v.field("nesterov", kWeights, nesterov, "look ahead along the momentum of sgd");
    v.field("weight-decay", kWeights, weight_decay, 0.0, 1e6,
            "pull of kernels towards 0: L2 with sgd and adam, decoupled with adamw");
    v.field("lr-schedule", kWeights, lr_schedule,
            "how the learning rate goes over the run: step takes a tenth of it from half and a hundredth "
            "from three "
            "quarters on, cosine lets it fall to 0");
    v.field("warmup-steps", kWeights, warmup_steps, 0, kMany,
            "steps over which the learning rate rises from 0 before that");
    v.field("label-smoothing", kWeights, label_smoothing, 0.0, 1.0,
            "share of the target that is spread evenly over all classes, such as 0.1");
    v.field("class-weights", kWeights, class_weights, "balanced lets every class count the same in the loss");
    v.field("clip-norm", kWeights, clip_norm, 0.0, 1e9,
            "scale gradients down to this norm, all together (0: never)");
    v.field("seed", kWeights, seed, 0, INT64_MAX, "number that all randomness comes from");
    v.group("Validation and checkpoints");
    v.field("validate-every", kLength, validate_every, 0, kMany,
            "steps between validations (0: every epoch)");
    v.field("stop-at-accuracy", kLength, stop_at_accuracy, 0.0, 1.0,
            "stop as soon as validation is that accurate, such as 0.9");
    v.field("patience", kLength, patience, 0, kMany,
            "stop after N validations without a better accuracy (0: never)");
    v.field("checkpoint-every", kLength, checkpoint_every, 0, kMany,
            "steps between checkpoints (0: every epoch)");
    v.field("keep", kLength, keep, 1, 1000000, "newest checkpoints to keep (the best one stays as well)");
    v.field("events", kPlace, events,
            "what to write for TensorBoard into RUN/events: numbers, recipe and confusion matrix (scalars); "
            "histograms of the weights and sample images too (all)");
    v.group("Machine");
    v.field("threads", kMachine, threads, 1, 1024, "threads to compute with (default: the CPUs allowed)");
    v.field("cache-mib", kMachine, cache_mib, 0, int64_t{1} << 30, "memory for decoded images, in MiB");
  }
};

/// A value that was given for an option, and where.
struct GivenOption {
  nlohmann::json value;
  std::string where;                     ///< "--seed", "run/config.json: seed"; begins every message about it
  StatusCode code = StatusCode::kUsage;  ///< of such a message
};
/// By name.
using GivenOptions = std::map<std::string, GivenOption, std::less<>>;

/// The options on a command line, filled when it is parsed.
class CommandLineOptions {
 public:
  /// Adds every option to `command`, which keeps references to this.
  void add_to(CLI::App& command);
  [[nodiscard]] GivenOptions given() const;

 private:
  std::map<std::string, std::string, std::less<>> texts_;
  std::map<std::string, bool, std::less<>> flags_;
  std::map<std::string, CLI::Option*, std::less<>> options_;
};

/// The members of a JSON object as options. Unknown names, and options whose role has no place there
/// (`recipe`: no kPlace and no kMachine either), are kBadData errors that list what is known.
Result<GivenOptions> given_in_json(const nlohmann::json& object, const std::string& where, bool recipe);

/// Puts `over` on top of `base`. Since --epochs and --steps both say when to stop, one of them in `over`
/// takes the place of both in `base`.
void put_on_top(GivenOptions& base, const GivenOptions& over);

/// Checks every value: types, ranges, --epochs together with --steps, combinations.
Result<TrainSettings> read_settings(const GivenOptions& given);
/// The same, each option by itself: not whether they go together, and without defaults that depend on others.
Result<TrainSettings> read_each_setting(const GivenOptions& given);

/// The settings as config.json holds them, but for the model: all but switches and what was not given.
nlohmann::ordered_json write_settings(TrainSettings settings);
/// The part of them that a recipe is: roles kWeights and kLength.
nlohmann::ordered_json write_recipe(TrainSettings settings);

/// Options on which the weights depend and whose values differ, as "seed (1, was 0)".
std::vector<std::string> differing_options(const TrainSettings& now, const TrainSettings& before);

/// What train() is told.
Result<TrainOptions> train_options(const TrainSettings& settings, bool reference);

/// The learning rate that holds.
double learning_rate_of(const TrainSettings& settings);

}  // namespace nacre
