#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "cli/command.h"
#include "cli/console.h"
#include "cli/data_source.h"
#include "cli/eval_report.h"
#include "cli/open_model.h"
#include "engine/packed_variables.h"
#include "train/evaluate.h"

namespace nacre {
namespace {

constexpr int64_t kMostSkipped = int64_t{1} << 40;  // as of train

struct EvalOptions {
  std::string file;
  std::string data;
  std::string image_root;
  std::string model;
  int64_t batch_size = 100;
  int64_t skip_bad = 0;
  bool json = false;
  int threads = 1;
};

/// "Measured runs/a/checkpoints/best (checkpoint, step 120) on 30 images of photos."
std::string measured_line(const OpenedModel& opened, const Dataset& data, const std::string& data_path) {
  const bool is_bundle = opened.kind == FileKind::kBundle;
  const auto found = opened.model.provenance.find("step");
  std::string step;
  if (!is_bundle) {
    step = std::to_string(opened.state.step);
  } else if (found != opened.model.provenance.end()) {
    step = found->second;
  }
  return fmt::format("Measured {} ({}{}) on {} of {}.\n", printable(opened.path),
                     is_bundle ? "bundle" : "checkpoint", step.empty() ? "" : ", step " + printable(step),
                     counted(data.size(), "image"), printable(data_path));
}

/// The graph without the softmax that it ends in; nothing when it ends otherwise. The loss of logits is that
/// of training's validation; of probabilities it would be bounded, for they underflow.
std::optional<Graph> graph_of_logits(const Graph& graph) {
  if (graph.output().op != "Softmax") return std::nullopt;
  std::vector<Node> nodes = graph.nodes();
  nodes.pop_back();
  Result<Graph> logits = Graph::make(std::move(nodes));
  return logits.ok() ? std::optional(std::move(logits).value()) : std::nullopt;
}

Status run_eval(const Session& session, const EvalOptions& options) {
  OpenOptions open;
  open.model = options.model;
  NACRE_ASSIGN_OR_RETURN(const OpenedModel opened, open_model(session, options.file, open));
  const Bundle& model = opened.model;

  DataRequest request;
  request.data = options.data;
  request.image_root = options.image_root;
  request.labels = model.contract.labels;
  request.skip_bad = options.skip_bad;
  request.cache_mib = 0;  // every image is used once
  request.threads = options.threads;
  request.has_validation = false;
  InputContract contract = model.contract;
  contract.labels.clear();
  NACRE_ASSIGN_OR_RETURN(const std::shared_ptr<const Dataset> data, open_evaluation_data(request, contract));
  for (const std::string& file : data->skipped()) print_message("left out: " + file);

  const int64_t batch = std::min(options.batch_size, data->size());
  const std::optional<Graph> logits = graph_of_logits(model.graph);
  NACRE_ASSIGN_OR_RETURN(const Plan plan,
                         Plan::make(logits.has_value() ? *logits : model.graph, session.registry,
                                    Shape{contract.height, contract.width, contract.channels},
                                    session.plan_options(Mode::kInference, batch, options.threads)));
  NACRE_RETURN_IF_ERROR(plan.check_variables(model.variables).at(opened.path));
  const PackedVariables packed(plan, model.variables, options.threads);
  Executor executor(plan);
  NACRE_RETURN_IF_ERROR(executor.bind(model.variables, &packed));
  const Result<Evaluation> evaluated =
      evaluate(executor, plan, data, options.threads, /*probabilities=*/!logits.has_value());
  if (evaluated.status().code() == StatusCode::kDiverged) return evaluated.status().at(opened.path);
  NACRE_RETURN_IF_ERROR(evaluated.status());
  const Evaluation& evaluation = *evaluated;
  if (options.json) return print(eval_json(evaluation, data->labels()));
  return print(measured_line(opened, *data, options.data) + eval_text(evaluation, data->labels()));
}

}  // namespace

void add_eval_command(CLI::App& app, Command& chosen) {
  auto options = std::make_shared<EvalOptions>();
  CLI::App* command = app.add_subcommand("eval", "measure a model on labelled images");
  command->add_option("FILE", options->file, "a bundle, a checkpoint or a run folder")->required();
  command
      ->add_option("--data", options->data,
                   "a folder with a sub-folder of images for each class, a CSV list "
                   "(file,label-name,label-number), or a folder of IDX files (its t10k-* ones)")
      ->type_name("PATH")
      ->required();
  command
      ->add_option("--image-root", options->image_root,
                   "folder that a CSV's file names start from (default: the CSV's own)")
      ->type_name("DIR");
  command->add_option("--model", options->model, "the network, for a checkpoint outside its run folder")
      ->type_name("PRESET|FILE");
  command->add_option("--batch-size", options->batch_size, "images that are computed together (default: 100)")
      ->check(CLI::Range(int64_t{1}, int64_t{4096}))
      ->type_name("N");
  command->add_option("--skip-bad", options->skip_bad, "leave out up to N bad lines or images, and list them")
      ->check(CLI::Range(int64_t{0}, kMostSkipped))
      ->type_name("N");
  add_json_option(*command, options->json);
  add_threads_option(*command, options->threads);
  command->callback([options, &chosen] {
    chosen = [options](const Session& session) { return run_eval(session, *options); };
  });
}

}  // namespace nacre
