#include "cli/train_summary.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "cli/console.h"
#include "cli/progress.h"
#include "cli/shell_word.h"

namespace nacre {
namespace {

/// Of how many images the sizes are looked at: reading the start of so many files takes a moment, not more.
constexpr int64_t kMostSizes = 2000;

std::string size_text(const ImageSize& size) {
  return fmt::format("{}x{}", size.width, size.height);
}

/// Images of each class, those for validation too when they were split off.
std::vector<int64_t> all_counts(const TrainingData& data, bool split) {
  std::vector<int64_t> counts = data.training->class_counts();
  if (split) {
    const std::vector<int64_t> more = data.validation->class_counts();
    std::transform(counts.begin(), counts.end(), more.begin(), counts.begin(), std::plus<>());
  }
  return counts;
}

/// "240 images in 3 classes: cat 100, dog 100, horse 40"
std::string classes_text(const std::vector<std::string>& labels, const std::vector<int64_t>& counts) {
  constexpr size_t kMostListed = 12;
  int64_t images = 0;
  for (const int64_t count : counts) images += count;
  std::string text =
      fmt::format("{} in {}: ", counted(images, "image"), counted(std::ssize(labels), "class", "classes"));
  const size_t shown = std::min(labels.size(), kMostListed);
  for (size_t i = 0; i < shown; ++i) {
    text += fmt::format("{}{} {}", i == 0 ? "" : ", ", labels[i], with_commas(counts[i]));
  }
  if (shown == labels.size()) return text;
  const auto [least, most] = std::minmax_element(counts.begin(), counts.end());
  return text + fmt::format(" and {} more (the smallest has {}, the largest {})", labels.size() - shown,
                            with_commas(*least), with_commas(*most));
}

/// "images are from 120x80 to 4000x3000 pixels, resized to 96x96 (their proportions change); the network sees
/// them in grey"; empty when nothing is known.
std::string sizes_text(const Dataset& data) {
  const SizeSurvey survey = data.survey_sizes(kMostSizes);
  if (survey.looked_at == 0) return "";
  const InputContract& contract = data.contract();
  const ImageSize wanted{contract.height, contract.width};
  const bool alike = survey.smallest == survey.largest && (survey.keeps_ratio || survey.looked_at == 1);
  std::string text = alike ? fmt::format("images are {} pixels", size_text(survey.smallest))
                           : fmt::format("images are from {} to {} pixels", size_text(survey.smallest),
                                         size_text(survey.largest));
  if (survey.looked_at < data.size())
    text += fmt::format(" (of {} looked at)", with_commas(survey.looked_at));
  if (alike && survey.smallest == wanted) {
    text += ", as the network takes them";
  } else if (contract.resize == ResizePolicy::kExact) {
    text += fmt::format("; the network takes exactly {}", size_text(wanted));
  } else {
    text += fmt::format(", resized to {}{}", size_text(wanted),
                        survey.keeps_ratio ? "" : " (their proportions change)");
  }
  return survey.of_files && contract.channels == 1 ? text + "; the network sees them in grey" : text;
}

/// The validation data as an argument of `eval`; empty when there is none, or it has no path of its own.
std::string evaluation_arguments(const RunFolder& folder, const TrainSettings& settings,
                                 const TrainingData& data) {
  if (data.validation == nullptr) return "";
  if (validation_fraction(settings.validation).has_value()) {
    std::error_code none;
    return std::filesystem::exists(folder.validation(), none) ? shell_word(folder.validation()) : "";
  }
  std::string text = shell_word(settings.validation.empty() ? settings.data : settings.validation);
  if (!settings.image_root.empty()) text += " --image-root " + shell_word(settings.image_root);
  return text;
}

/// An image to try the model on.
std::string example_image(const TrainingData& data) {
  const std::string name = (data.validation != nullptr ? data.validation : data.training)->name(0);
  std::error_code none;
  return std::filesystem::is_regular_file(name, none) ? shell_word(name) : "IMAGE...";
}

}  // namespace

std::vector<std::string> describe_data(const TrainSettings& settings, const TrainingData& data) {
  std::vector<std::string> lines;
  const auto fraction = validation_fraction(settings.validation);
  const std::vector<std::string>& labels = data.training->labels();
  const std::vector<int64_t> counts = all_counts(data, fraction.has_value());
  lines.push_back(settings.data + ": " + classes_text(labels, counts));
  if (const std::string sizes = sizes_text(*data.training); !sizes.empty()) lines.push_back(sizes);
  if (fraction.has_value()) {
    lines.push_back(fmt::format("split class by class, by seed {}: {} images to train on, {} for validation",
                                settings.seed, with_commas(data.training->size()),
                                with_commas(data.validation->size())));
    const std::vector<int64_t> held_out = data.validation->class_counts();
    std::vector<std::string> without;
    for (size_t i = 0; i < labels.size(); ++i) {
      if (counts[i] > 0 && held_out[i] == 0) without.push_back(labels[i]);
    }
    if (!without.empty()) lines.push_back("no image for validation: " + listed(without));
  }
  std::vector<std::string> skipped = data.training->skipped();
  if (data.validation != nullptr && !fraction.has_value()) {  // parts of one set have one list
    const std::vector<std::string>& more = data.validation->skipped();
    skipped.insert(skipped.end(), more.begin(), more.end());
  }
  for (const std::string& file : skipped) lines.push_back("left out: " + file);
  if (!skipped.empty()) lines.push_back(fmt::format("{} left out in all", with_commas(std::ssize(skipped))));
  if (labels.size() == 1) lines.emplace_back("the data has a single class: there is nothing to tell apart");
  const auto empty = std::count(counts.begin(), counts.end(), 0);
  if (empty > 0) {
    const auto first = static_cast<size_t>(std::find(counts.begin(), counts.end(), 0) - counts.begin());
    lines.push_back(fmt::format("{} of the {} classes have no image to train on, the first is {}", empty,
                                labels.size(), labels[first]));
  }
  if (data.validation == nullptr) {
    for (const auto& [given, name] : {std::pair{settings.stop_at_accuracy.has_value(), "stop-at-accuracy"},
                                      {settings.patience > 0, "patience"}}) {
      if (given) lines.push_back(fmt::format("there is no validation data: {} has no effect", name));
    }
  }
  return lines;
}

std::string describe_start(const TrainSetup& setup, const TrainOptions& options, const TrainingData& data,
                           uint64_t step) {
  std::string text = fmt::format(
      "training {} on {} of {}, {}; {} of {}, {}", setup.model.name, counted(data.training->size(), "image"),
      counted(std::ssize(data.training->labels()), "class", "classes"),
      data.validation == nullptr ? "without validation"
                                 : counted(data.validation->size(), "image") + " for validation",
      counted(total_steps(options, data.training->size()), "step"),
      counted(std::min(options.batch_size, data.training->size()), "image"),
      counted(options.threads, "thread"));
  if (step > 0) text += fmt::format(", going on from step {}", with_commas(static_cast<int64_t>(step)));
  return text;
}

std::string describe_end(const RunFolder& folder, const TrainSetup& setup, const TrainOptions& options,
                         const TrainingData& data, const TrainResult& result, const TrainingState& state,
                         uint64_t first_step) {
  std::string text;
  if (static_cast<uint64_t>(result.steps) > first_step) {
    const int64_t done = result.steps - static_cast<int64_t>(first_step);
    // The times are this process's.
    const std::string steps = first_step == 0 ? counted(done, "step")
                                              : fmt::format("{}, after step {},", counted(done, "more step"),
                                                            with_commas(static_cast<int64_t>(first_step)));
    text = fmt::format("Trained {} for {} in {}: {} images/s on {}", setup.model.name, steps,
                       readable_duration(result.training_seconds),
                       with_commas(static_cast<int64_t>(result.images_per_second)),
                       counted(options.threads, "thread"));
    if (result.validation_seconds >= 1) {
      text += "; validation took " + readable_duration(result.validation_seconds);
    }
    text += ".\n";
  } else {
    text = fmt::format("The run had ended already, after {}{}.\n", counted(result.steps, "step"),
                       result.reason == StopReason::kFinished ? "; raise --epochs or --steps to go on" : "");
  }
  if (result.reason == StopReason::kReachedAccuracy) {
    text += fmt::format("Stopped early: validation reached the accuracy asked for, {}.\n",
                        *options.stop_at_accuracy);
  }
  if (result.reason == StopReason::kNoImprovement) {
    text += fmt::format("Stopped early: {} without a better accuracy.\n",
                        counted(options.patience, "validation"));
  }
  if (state.best_accuracy >= 0) {
    text += fmt::format("Best validation accuracy: {:.2f}% (step {}).\n", 100 * state.best_accuracy,
                        with_commas(static_cast<int64_t>(state.best_step)));
  }
  text += fmt::format("Run folder: {} (checkpoints, metrics.jsonl, config.json)\n", folder.path());
  const std::string run = shell_word(folder.path());
  const std::string bundle = shell_word(folder.path() + "/model.nacre");
  text += "Next: ";
  if (const std::string evaluation = evaluation_arguments(folder, setup.settings, data);
      !evaluation.empty()) {
    text += fmt::format("nacre eval {} --data {}\n      ", run, evaluation);
  }
  text += fmt::format("nacre export {} --out {}\n      nacre predict {} {}\n", run, bundle, bundle,
                      example_image(data));
  return text;
}

}  // namespace nacre
