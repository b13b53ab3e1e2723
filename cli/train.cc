#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <filesystem>
#include <memory>

#include "cli/checkpointer.h"
#include "cli/command.h"
#include "cli/console.h"
#include "cli/data_source.h"
#include "cli/metrics.h"
#include "cli/progress.h"
#include "cli/run_checkpoints.h"
#include "cli/run_folder.h"
#include "cli/shell_word.h"
#include "cli/stop_signal.h"
#include "cli/tensorboard.h"
#include "cli/train_config.h"
#include "cli/train_init.h"
#include "cli/train_resume.h"
#include "cli/train_summary.h"
#include "serialize/atomic_file.h"

namespace nacre {
namespace {

namespace fs = std::filesystem;

bool is_there(const std::string& path) {
  std::error_code error;
  return fs::exists(fs::symlink_status(path, error));
}

/// Refuses to write over what is there; who holds the folder now is told first.
Status check_unoccupied(const RunFolder& folder) {
  if (!folder.occupied()) return {};
  if (is_there(folder.path() + "/.lock")) {
    const Result<RunLock> lock = RunLock::acquire(folder.path());
    if (!lock.ok() && lock.status().code() == StatusCode::kLocked) return lock.status();
  }
  return {
      StatusCode::kIo,
      folder.path() + (folder.holds_run() ? ": holds a run already: --resume goes on with it, --overwrite "
                                            "replaces it"
                                          : ": exists and is no empty folder (--overwrite writes a run into "
                                            "it all the same)")};
}

/// A run folder among the folders of classes would be taken for one of them when the run is resumed.
Status check_apart(const TrainSettings& settings) {
  for (const auto& [folder, split] :
       {std::pair{settings.data, IdxSplit::kTrain}, {settings.validation, IdxSplit::kTest}}) {
    std::error_code error;
    const fs::path data = fs::weakly_canonical(folder, error);
    if (error || !fs::is_directory(data, error) || Dataset::has_idx(folder, split)) continue;
    const fs::path out = fs::weakly_canonical(settings.out, error);
    const fs::path way = out.lexically_relative(data);
    if (error || way.empty() || *way.begin() == "..") continue;
    return {StatusCode::kUsage, "--out: " + settings.out + " lies in the data folder " + folder +
                                    ", where it would be taken for a class; give a folder beside it"};
  }
  return {};
}

/// A run folder that cannot be written is found now instead of after all data was read.
Status check_writable(const std::string& out) {
  std::error_code error;
  fs::path there = fs::absolute(out, error);
  while (!is_there(there.string()) && there.has_relative_path()) there = there.parent_path();
  if (!fs::is_directory(there, error)) {
    if (there == fs::absolute(out, error)) return {};  // which is told of otherwise
    return {StatusCode::kIo, "--out: " + out + ": " + there.string() + " is no folder"};
  }
  if (::access(there.c_str(), W_OK | X_OK) == 0) return {};
  return {StatusCode::kIo, "--out: " + out + ": cannot write into " + there.string() + ": " +
                               std::generic_category().message(errno)};
}

/// With --overwrite, too, nothing is written in place of a file.
Status check_is_folder(const RunFolder& folder) {
  std::error_code none;
  if (!is_there(folder.path()) || fs::is_directory(folder.path(), none)) return {};
  return {StatusCode::kIo, folder.path() + ": exists and is no folder; give --out a name that is free"};
}

/// The text of labels.txt.
std::string label_lines(const std::vector<std::string>& labels) {
  std::string lines;
  for (const std::string& label : labels) lines += label + "\n";
  return lines;
}

/// The message of a run that ended too soon, after `steps` steps.
Status explain(const Status& status, const RunFolder& folder, uint64_t steps) {
  std::error_code none;
  const std::string last = fs::read_symlink(folder.latest(), none).filename().string();
  if (status.code() != StatusCode::kDiverged) {
    if (steps == 0 || last != RunFolder::checkpoint_name(steps)) return status;
    return {status.code(), fmt::format("{}; step {} is kept: --resume goes on from there (with --force when "
                                       "images are replaced or left out)",
                                       status.message(), steps)};
  }
  return {status.code(),
          fmt::format("{}: {} ({}; a smaller --learning-rate may help)", folder.path(), status.message(),
                      last.empty() ? "there is no checkpoint yet"
                                   : "the last good checkpoint is " + folder.checkpoints() + "/" + last)};
}

/// One run of the command, from options to the end of training.
class TrainCommand {
 public:
  TrainCommand(const Session& session, GivenOptions given) : session_(session), given_(std::move(given)) {}

  Status run() {
    NACRE_RETURN_IF_ERROR(settle());
    NACRE_RETURN_IF_ERROR(open_run());
    NACRE_RETURN_IF_ERROR(open_data());
    NACRE_RETURN_IF_ERROR(make_start());
    // From here on there is something to bring to a good end.
    const StopSignal stop;
    NACRE_RETURN_IF_ERROR(write_run());
    return train_run();
  }

 private:
  Status settle();
  [[nodiscard]] Status check_spared() const;
  Status open_run();
  Status open_data();
  Status make_start();
  void keep_origin(std::vector<std::string>& notes);
  Status write_run();
  Status train_run();

  const Session& session_;
  GivenOptions given_;
  TrainSetup setup_;
  RunFolder folder_{""};
  std::optional<TrainConfig> before_;
  std::optional<RunLock> lock_;
  std::optional<Checkpoint> checkpoint_;
  std::string checkpoint_path_;  ///< where it was read
  bool resuming_ = false;
  bool forgot_best_ = false;
  TrainingData data_;
  TrainOptions options_;
  std::optional<Graph> graph_;
};

Status TrainCommand::settle() {
  const auto out = given_.find("out");
  if (out != given_.end() && given_.contains("resume")) {
    const RunFolder folder(out->second.value.get<std::string>());
    if (given_.contains("overwrite")) {
      return {StatusCode::kUsage,
              "--overwrite: replaces the run that --resume would go on with; give one of them"};
    }
    if (is_there(folder.config())) {
      NACRE_ASSIGN_OR_RETURN(before_, read_train_config(folder.config()));
    } else if (!given_.contains("model") && !given_.contains("config")) {
      return {StatusCode::kUsage,
              folder.path() + ": holds no run to go on with; a new one needs --model and --data"};
    }
  }
  NACRE_ASSIGN_OR_RETURN(setup_, settle_train_setup(session_, given_, before_));
  NACRE_ASSIGN_OR_RETURN(options_, train_options(setup_.settings, session_.reference));
  folder_ = RunFolder(setup_.settings.out);
  NACRE_RETURN_IF_ERROR(check_is_folder(folder_));
  NACRE_RETURN_IF_ERROR(check_apart(setup_.settings));
  NACRE_RETURN_IF_ERROR(check_writable(setup_.settings.out));
  NACRE_RETURN_IF_ERROR(options_.augmentation.check(setup_.model.input).at("--augment"));
  return {};
}

/// A run that starts anew removes what is there of another, but never a file that it is given.
Status TrainCommand::check_spared() const {
  const TrainSettings& settings = setup_.settings;
  for (const auto& [option, file] : {std::pair{"validation", settings.validation},
                                     {"data", settings.data},
                                     {"labels", settings.labels},
                                     {"config", settings.config}}) {
    if (!folder_.would_remove(file)) continue;
    return {StatusCode::kUsage,
            fmt::format("--{}: {} would be replaced by the run in {}; give a copy of it that lies elsewhere",
                        option, file, folder_.path())};
  }
  return {};
}

Status TrainCommand::open_run() {
  const TrainSettings& settings = setup_.settings;
  if (!settings.resume) NACRE_RETURN_IF_ERROR(check_spared());
  if (!settings.resume && !settings.overwrite) return check_unoccupied(folder_);
  // What is no run may hold files that only look like a run's.
  if (settings.resume && !folder_.holds_run()) NACRE_RETURN_IF_ERROR(check_unoccupied(folder_));
  if (is_there(folder_.path())) {
    NACRE_ASSIGN_OR_RETURN(lock_, RunLock::acquire(folder_.path()));
  }
  if (!settings.resume) return {};
  NACRE_ASSIGN_OR_RETURN(std::optional<FoundCheckpoint> found, find_checkpoint(folder_));
  resuming_ = found.has_value();
  if (resuming_) {
    if (!found->note.empty()) print_message(found->note);
    checkpoint_path_ = std::move(found->path);
    checkpoint_ = std::move(found->checkpoint);
    const std::vector<std::string>& labels = checkpoint_->contract.labels;
    if (!settings.labels.empty() && setup_.labels != labels) {
      return {StatusCode::kBadData,
              settings.labels + ": these are not the classes of the run in " + folder_.path()};
    }
    setup_.labels = labels;
  } else {
    NACRE_RETURN_IF_ERROR(check_spared());
    print_message(folder_.path() + ": there is no checkpoint to go on from: training starts anew");
  }
  return {};
}

Status TrainCommand::open_data() {
  const TrainSettings& settings = setup_.settings;
  DataRequest request;
  request.data = settings.data;
  request.validation = settings.validation;
  request.image_root = settings.image_root;
  request.labels = setup_.labels;
  request.seed = static_cast<uint64_t>(settings.seed);
  request.skip_bad = settings.skip_bad;
  request.cache_mib = settings.cache_mib;
  request.threads = options_.threads;
  NACRE_ASSIGN_OR_RETURN(data_, open_training_data(request, setup_.model.input));
  setup_.labels = data_.training->labels();
  if (data_.validation != nullptr) {
    setup_.validation_digest = data_.validation->digest();
  } else if (resuming_ && before_.has_value()) {
    setup_.validation_digest = before_->validation_digest;  // the best accuracy is still of those
  }
  for (const std::string& line : describe_data(settings, data_)) print_message(line);
  return {};
}

Status TrainCommand::make_start() {
  const InputContract& contract = data_.training->contract();
  const auto classes = static_cast<int64_t>(setup_.labels.size());
  const std::string& origin = setup_.model_origin;
  Result<Graph> graph = build_graph(setup_.model, classes, session_.registry);
  if (!graph.ok()) return graph.status().at(origin);
  graph_ = std::move(graph).value();
  // What cannot be exported is said before hours of training, not after them.
  NACRE_RETURN_IF_ERROR(redraw_for_prediction(*graph_, session_.registry).status().at(origin));
  const int64_t batch = std::min(options_.batch_size, data_.training->size());
  const Result<Plan> plan =
      Plan::make(*graph_, session_.registry, Shape{contract.height, contract.width, contract.channels},
                 session_.plan_options(Mode::kTraining, batch, options_.threads));
  if (!plan.ok()) return plan.status().at(origin);
  NACRE_RETURN_IF_ERROR(check_output(plan->output_shape(), classes).at(origin));
  const RunStart start{setup_, options_, *plan, data_.training};
  std::vector<std::string> notes;
  if (resuming_) {
    const double best = checkpoint_->state.best_accuracy;
    NACRE_ASSIGN_OR_RETURN(notes, adapt_checkpoint(session_, start, before_, checkpoint_path_, *checkpoint_));
    forgot_best_ = checkpoint_->state.best_accuracy < best;
    keep_origin(notes);
  } else {
    checkpoint_ = first_checkpoint(start);
    if (const std::string& file = setup_.settings.init_from; !file.empty()) {
      NACRE_ASSIGN_OR_RETURN(notes, init_from(file, setup_.settings.map, start, *checkpoint_));
    }
  }
  for (const std::string& note : notes) print_message(note);
  return {};
}

/// What a run that goes on once started from stays so in its config.json, whatever is given now.
void TrainCommand::keep_origin(std::vector<std::string>& notes) {
  const auto of_run = [this](const char* option) -> std::string {
    if (!before_.has_value()) return "";
    const auto found = before_->options.find(option);
    const bool is_text = found != before_->options.end() && found->second.value.is_string();
    return is_text ? found->second.value.get<std::string>() : "";
  };
  TrainSettings& settings = setup_.settings;
  const std::string origin = of_run("init-from");
  if (given_.contains("init-from") || settings.init_from != origin) {
    notes.push_back("--init-from: " + settings.init_from +
                    " is not read: the run goes on from its own checkpoint");
  }
  settings.init_from = origin;
  settings.map = of_run("map");
}

Status TrainCommand::write_run() {
  NACRE_RETURN_IF_ERROR(folder_.create());
  if (!lock_.has_value()) {
    NACRE_ASSIGN_OR_RETURN(lock_, RunLock::acquire(folder_.path()));
  }
  NACRE_RETURN_IF_ERROR(resuming_ ? mend_links(folder_, checkpoint_->state) : folder_.remove_run());
  // Before config.json names the images that are to judge now.
  if (forgot_best_) {
    NACRE_RETURN_IF_ERROR(Checkpointer(folder_, setup_.settings.keep).on_checkpoint(*checkpoint_, false));
  }
  NACRE_RETURN_IF_ERROR(atomic_write_text(folder_.config(), config_text(setup_)));
  if (validation_fraction(setup_.settings.validation).has_value()) {
    if (const std::string list = csv_of_files(*data_.validation); !list.empty()) {
      NACRE_RETURN_IF_ERROR(atomic_write_text(folder_.validation(), list));
    }
  }
  return atomic_write_text(folder_.labels(), label_lines(setup_.labels));
}

Status TrainCommand::train_run() {
  const uint64_t first = checkpoint_->state.step;
  NACRE_ASSIGN_OR_RETURN(const std::unique_ptr<MetricsLog> metrics,
                         MetricsLog::open(folder_.metrics(), first));
  TensorBoardSource events;
  events.train_folder = folder_.train_events();
  events.validation_folder = folder_.validation_events();
  events.first_step = first;
  events.seed = checkpoint_->state.seed;
  events.detail = setup_.settings.events;
  events.config = config_text(setup_);
  events.augmentation = options_.augmentation;
  events.training = data_.training;
  NACRE_ASSIGN_OR_RETURN(const std::unique_ptr<TensorBoardLog> tensorboard,
                         TensorBoardLog::open(std::move(events)));
  Checkpointer checkpointer(folder_, setup_.settings.keep);
  print_message(describe_start(setup_, options_, data_, first));
  if (const int64_t warmup = options_.optimizer.warmup_steps;
      warmup > total_steps(options_, data_.training->size())) {
    print_message(
        fmt::format("the run ends before its warm-up of {} does: the learning rate is never reached",
                    counted(warmup, "step")));
  }

  Status failure;
  std::optional<TrainResult> result;
  int signal = 0;
  {
    Progress progress(LiveLine::possible());
    const std::array<TrainObserver*, 4> observers{&progress, metrics.get(), tensorboard.get(), &checkpointer};
    Result<TrainResult> outcome =
        train(*graph_, session_.registry, data_.training, data_.validation, options_, *checkpoint_, observers,
              [] { return StopSignal::received() != 0; });
    signal = StopSignal::received();
    if (outcome.ok()) {
      result = std::move(outcome).value();
    } else {
      failure = outcome.status();
    }
  }
  if (!result.has_value()) return explain(failure, folder_, checkpoint_->state.step);
  if (result->reason == StopReason::kStopRequested) {
    return {signal == SIGINT ? StatusCode::kInterrupted : StatusCode::kTerminated,
            fmt::format("{}: stopped after step {}, with a checkpoint; nacre train --resume --out {} goes on",
                        folder_.path(), result->steps, shell_word(folder_.path()))};
  }
  return print(describe_end(folder_, setup_, options_, data_, *result, checkpoint_->state, first));
}

}  // namespace

void add_train_command(CLI::App& app, Command& chosen) {
  auto options = std::make_shared<CommandLineOptions>();
  CLI::App* command = app.add_subcommand("train", "train a network on labelled images");
  options->add_to(*command);
  command->footer(
      "Example: nacre train --model face96 --data photos --validation 0.2 --out runs/photos\n"
      "An option given here wins over --config FILE, that over the model's recipe.");
  command->callback([options, &chosen] {
    chosen = [options](const Session& session) { return TrainCommand(session, options->given()).run(); };
  });
}

}  // namespace nacre
