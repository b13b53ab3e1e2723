#include "cli/train_resume.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <utility>

#include "cli/command.h"
#include "layers/strict_json.h"

namespace nacre {
namespace {

/// The part of a model that training depends on.
std::string essence(ModelDescription model) {
  model.name = "model";
  model.recipe = "{}";
  return write_model(model);
}

/// The settings that a checkpoint was written under.
Result<TrainSettings> settings_of(const Checkpoint& checkpoint, const std::string& where) {
  NACRE_ASSIGN_OR_RETURN(const nlohmann::json recipe, parse_strict_json(checkpoint.recipe, where));
  NACRE_ASSIGN_OR_RETURN(const GivenOptions given, given_in_json(recipe, where, /*recipe=*/true));
  return read_settings(given);
}

/// Variables of the plan and their slots; what else there is belongs to another optimizer.
VariableStore needed_variables(const RunStart& start, const VariableStore& store) {
  const Optimizer optimizer(start.options.optimizer);
  VariableStore needed;
  const auto take = [&](const std::string& name) {
    // A name comes once: Plan's variables are all different.
    if (const Tensor* tensor = store.find(name)) static_cast<void>(needed.add(name, tensor->clone()).ok());
  };
  for (const PlannedVariable& variable : start.plan.variables()) {
    take(variable.name);
    for (const std::string& slot : optimizer.slot_names(variable)) take(slot);
  }
  return needed;
}

/// Writes into `checkpoint` what this start goes by.
void stamp(const RunStart& start, Checkpoint& checkpoint) {
  const TrainSettings& settings = start.setup.settings;
  checkpoint.state.seed = static_cast<uint64_t>(settings.seed);
  checkpoint.state.data_digest = start.data->digest();
  checkpoint.contract = start.data->contract();
  checkpoint.recipe = write_recipe(settings).dump();
  checkpoint.nacre_version = nacre_version();
}

std::string schedule_note(const RunStart& start, const TrainSettings& before) {
  TrainOptions old = start.options;
  old.epochs = before.epochs;
  old.steps = before.steps;
  const int64_t was = total_steps(old, start.data->size());
  const int64_t now = total_steps(start.options, start.data->size());
  if (was == now || start.options.optimizer.schedule == LearningRateSchedule::kConstant) return "";
  return fmt::format(
      "the run now ends at step {} instead of {}, and its learning rate schedule stretches with it: the "
      "weights will not be those of a run of {} steps from the start",
      now, was, now);
}

}  // namespace

Checkpoint first_checkpoint(const RunStart& start) {
  Checkpoint checkpoint;
  stamp(start, checkpoint);
  checkpoint.variables = start.plan.initial_variables(checkpoint.state.seed);
  return checkpoint;
}

Result<std::vector<std::string>> adapt_checkpoint(const Session& session, const RunStart& start,
                                                  const std::optional<TrainConfig>& before,
                                                  const std::string& path, Checkpoint& checkpoint) {
  const TrainSettings& settings = start.setup.settings;
  const RunFolder folder(settings.out);
  NACRE_RETURN_IF_ERROR(start.plan.check_variables(checkpoint.variables).at(path));
  NACRE_ASSIGN_OR_RETURN(const TrainSettings old, settings_of(checkpoint, path + ": recipe"));

  std::vector<std::string> differences = differing_options(settings, old);
  TrainingState& state = checkpoint.state;
  if (state.data_digest != start.data->digest()) {
    differences.insert(differences.begin(), "data (its list of images is not the one trained on)");
  }
  const std::string& judged_by = start.setup.validation_digest;
  const bool other_judges = state.best_accuracy >= 0 && before.has_value() &&
                            !before->validation_digest.empty() && !judged_by.empty() &&
                            judged_by != before->validation_digest;
  if (other_judges) {
    differences.insert(differences.begin(),
                       "validation (its list of images is not the one that the best accuracy is of)");
  }
  if (before.has_value() && before->model.has_value()) {
    NACRE_ASSIGN_OR_RETURN(const ModelDescription model,
                           parse_model(*before->model, before->path + ": model", session.registry));
    if (essence(model) != essence(start.setup.model)) {
      differences.insert(differences.begin(), "model (its layers or its input)");
    }
  }
  const std::string listed = fmt::format("{}", fmt::join(differences, ", "));
  if (!differences.empty() && !settings.force) {
    return Status(
        StatusCode::kBadData,
        fmt::format("{}: cannot go on from step {}, for this is different now: {} (--force goes on all "
                    "the same)",
                    folder.path(), state.step, listed));
  }
  std::vector<std::string> notes;
  if (!differences.empty()) notes.push_back("going on although this is different now: " + listed);
  if (const std::string note = schedule_note(start, old); !note.empty()) notes.push_back(note);

  if (other_judges) {
    state.best_accuracy = -1;
    state.best_step = 0;
    state.validations_since_best = 0;
    notes.emplace_back("the best accuracy so far counts no more: it is of other images");
  }
  if (state.data_digest != start.data->digest() || old.batch_size != settings.batch_size) {
    // The place within the epoch means nothing any more.
    state.batch_in_epoch = 0;
  }
  stamp(start, checkpoint);
  checkpoint.variables = needed_variables(start, checkpoint.variables);
  return notes;
}

}  // namespace nacre
