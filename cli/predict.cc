#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <filesystem>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "cli/command.h"
#include "cli/console.h"
#include "cli/open_model.h"
#include "cli/predict_batch.h"
#include "engine/isa.h"
#include "runtime/model.h"
#include "runtime/prediction_bundle.h"
#include "serialize/bundle_file.h"

namespace nacre {
namespace {

namespace fs = std::filesystem;

struct PredictOptions {
  std::string file;
  std::vector<std::string> images;
  std::string batch;
  std::string out;
  bool overwrite = false;
  std::string model;
  int64_t top_k = 1;
  bool top_k_given = false;
  int64_t batch_size = 32;
  bool json = false;
  int threads = 1;
  bool threads_given = false;
};

/// Of a network, for one image, from where on starting threads costs less than they spare: some 10 ms of one.
constexpr int64_t kFlopsWorthThreads = 1'000'000'000;

/// Longest path that is read from stdin.
constexpr size_t kMaxPath = 4096;

bool has_image_extension(const fs::path& path) {
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return extension == ".jpg" || extension == ".jpeg" || extension == ".png";
}

/// The images right in a folder, sorted by name.
Result<std::vector<std::string>> images_in(const std::string& folder) {
  std::vector<std::string> images;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    if (has_image_extension(entry->path())) images.push_back(entry->path().string());
  }
  if (error) return Status(StatusCode::kIo, folder + ": " + error.message());
  if (images.empty()) {
    return Status(
        StatusCode::kBadData,
        folder + ": the folder holds no .jpg, .jpeg or .png files (folders in it are not searched)");
  }
  std::sort(images.begin(), images.end());
  return images;
}

/// Predicts paths as they come, in batches.
class Predictor {
 public:
  Predictor(const PredictOptions& options, Model model) : options_(options), model_(std::move(model)) {}

  Status add(std::string path) {
    pending_.push_back(std::move(path));
    return pending_.size() < static_cast<size_t>(options_.batch_size) ? Status() : flush();
  }
  /// For what could not be turned into images; success goes on.
  void add_error(const Status& error) {
    ++count_;
    note_error(error);
  }
  Status flush() {
    const std::vector<Model::Answer> answers = model_.classify_files(pending_);
    std::string text;
    for (size_t i = 0; i < answers.size(); ++i) {
      ++count_;
      if (answers[i].ok()) {
        text += describe(pending_[i], *answers[i]);
        continue;
      }
      // In the order of the images for who reads both streams.
      NACRE_RETURN_IF_ERROR(print(text));
      text.clear();
      note_error(answers[i].status());
    }
    pending_.clear();
    return print(text);
  }
  /// What the command says at its end: the error of the only image, or when one of several was bad kBadData,
  /// or kDiverged when the network was.
  [[nodiscard]] Status outcome() const {
    if (bad_ == 0) return {};
    if (count_ == 1) return {error_, ""};
    return {error_ == StatusCode::kDiverged ? error_ : StatusCode::kBadData,
            fmt::format("predict: {} of {} images could not be classified", bad_, count_)};
  }

 private:
  void note_error(const Status& error) {
    ++bad_;
    if (error_ != StatusCode::kDiverged) error_ = error.code();
    print_message(error.message());
  }
  [[nodiscard]] std::string describe(const std::string& path, const std::vector<float>& prediction) const {
    const std::vector<Prediction> best = model_.best(prediction, static_cast<size_t>(options_.top_k));
    return options_.json ? as_json(path, prediction, best) : as_text(path, best);
  }
  static std::string as_text(const std::string& path, const std::vector<Prediction>& best) {
    std::string line = printable(path) + ":";
    for (const Prediction& p : best) {
      line += fmt::format("{} {} {:.1f}%", &p == &best.front() ? "" : ",", printable(p.label),
                          100 * p.probability);
    }
    return line + "\n";
  }
  [[nodiscard]] std::string as_json(const std::string& path, const std::vector<float>& prediction,
                                    const std::vector<Prediction>& best) const {
    nlohmann::ordered_json line;
    line["file"] = path;
    line.update(prediction_json({&best.front(), 1})[0]);
    line["prediction"] = prediction;
    if (options_.top_k_given) line["top"] = prediction_json(best);
    // A file's name need not be UTF-8; JSON must be.
    return line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
  }

  const PredictOptions& options_;
  Model model_;
  std::vector<std::string> pending_;
  int64_t count_ = 0;
  int64_t bad_ = 0;
  StatusCode error_ = StatusCode::kOk;
};

/// The paths that an argument stands for, one after the other.
Status add_argument(const std::string& argument, Predictor& predictor) {
  if (argument == "-") {
    for (std::string line; std::getline(std::cin, line);) {
      if (line.ends_with('\r')) line.pop_back();
      if (line.empty()) continue;
      if (line.size() > kMaxPath) {
        predictor.add_error({StatusCode::kBadData, fmt::format("-: a path of {} bytes; at most {} are taken",
                                                               line.size(), kMaxPath)});
        continue;
      }
      NACRE_RETURN_IF_ERROR(predictor.add(line));
    }
    return {};
  }
  std::error_code none;
  if (!fs::is_directory(argument, none)) return predictor.add(argument);
  const Result<std::vector<std::string>> images = images_in(argument);
  if (!images.ok()) {
    NACRE_RETURN_IF_ERROR(predictor.flush());
    predictor.add_error(images.status());
    return {};
  }
  for (const std::string& image : *images) NACRE_RETURN_IF_ERROR(predictor.add(image));
  return {};
}

/// The threads for one image.
int threads_for_one(const PredictOptions& options, const Bundle& bundle, const Registry& registry) {
  if (options.threads_given) return options.threads;
  const Result<Plan> plan = plan_prediction(bundle, registry, {});
  if (!plan.ok()) return options.threads;  // making the model says why
  int64_t flops = 0;
  for (const Unit& unit : plan->units()) flops += unit.operation->info().flops_per_row;
  return flops < kFlopsWorthThreads ? 1 : options.threads;
}

Status run_predict(const Session& session, const PredictOptions& options) {
  if (options.batch.empty() == options.images.empty() || options.batch.empty() != options.out.empty()) {
    return {StatusCode::kUsage, "predict: expected either IMAGE... or --batch IN --out OUT"};
  }
  for (const auto& [option, file] : {std::pair{"--batch", options.batch}, {"--out", options.out}}) {
    if (file != "-") continue;
    return {
        StatusCode::kUsage,
        fmt::format("{}: expected a file, found -: a command that was killed goes on from files", option)};
  }
  OpenOptions open;
  open.model = options.model;
  NACRE_ASSIGN_OR_RETURN(OpenedModel opened, open_model(session, options.file, open));
  std::error_code none;
  const uint64_t checksum = options.batch.empty() ? 0 : bundle_checksum(opened.model);
  const bool single =
      options.images.size() == 1 && options.images[0] != "-" && !fs::is_directory(options.images[0], none);
  const int threads = single ? threads_for_one(options, opened.model, session.registry) : options.threads;
  NACRE_ASSIGN_OR_RETURN(
      Model model, Model::make(std::make_shared<const Bundle>(std::move(opened.model)), session.registry,
                               session.model_options(single ? 1 : options.batch_size, threads)));
  if (!options.batch.empty()) {
    return predict_batch({.in = options.batch,
                          .out = options.out,
                          .model_file = options.file,
                          .overwrite = options.overwrite,
                          .top_k = options.top_k_given ? static_cast<size_t>(options.top_k) : 0,
                          .batch_size = static_cast<size_t>(options.batch_size),
                          .model_checksum = checksum,
                          .isa = session.reference ? "reference" : current_isa_name()},
                         model);
  }
  Predictor predictor(options, std::move(model));
  for (const std::string& argument : options.images) NACRE_RETURN_IF_ERROR(add_argument(argument, predictor));
  NACRE_RETURN_IF_ERROR(predictor.flush());
  return predictor.outcome();
}

}  // namespace

void add_predict_command(CLI::App& app, Command& chosen) {
  auto options = std::make_shared<PredictOptions>();
  CLI::App* command = app.add_subcommand("predict", "classify images");
  command->add_option("FILE", options->file, "a bundle, a checkpoint or a run folder")->required();
  command->add_option("IMAGE", options->images,
                      "JPEG or PNG files, or folders of them; - reads paths from standard input, one a line");
  command
      ->add_option("--batch", options->batch,
                   "instead of IMAGE: instances in JSON, one a line, such as {\"image\": {\"b64\": \"...\"}}")
      ->type_name("IN");
  command
      ->add_option("--out", options->out,
                   "for --batch: answers in JSON, one a line; what is left of a killed command goes on")
      ->type_name("OUT");
  command->add_flag("--overwrite", options->overwrite, "replace an OUT that is there");
  CLI::Option* top_k =
      command->add_option("--top-k", options->top_k, "classes to show, best first (default: 1)")
          ->check(CLI::Range(int64_t{1}, int64_t{1} << 20))
          ->type_name("K");
  command->add_option("--batch-size", options->batch_size, "images that are computed together (default: 32)")
      ->check(CLI::Range(int64_t{1}, int64_t{4096}))
      ->type_name("N");
  command->add_option("--model", options->model, "the network, for a checkpoint outside its run folder")
      ->type_name("PRESET|FILE");
  add_json_option(*command, options->json);
  CLI::Option* threads = add_threads_option(*command, options->threads);
  command->callback([options, top_k, threads, &chosen] {
    options->threads_given = threads->count() > 0;
    options->top_k_given = top_k->count() > 0;
    chosen = [options](const Session& session) { return run_predict(session, *options); };
  });
}

}  // namespace nacre
