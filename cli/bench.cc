#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cli/bench_profile.h"
#include "cli/command.h"
#include "cli/console.h"
#include "cli/enum_text.h"
#include "cli/open_model.h"
#include "cli/train_config.h"
#include "cli/train_options.h"
#include "engine/isa.h"
#include "engine/machine_peak.h"
#include "engine/shape_text.h"
#include "runtime/model.h"
#include "train/loss.h"
#include "train/optimizer.h"

namespace nacre {
namespace {

constexpr uint64_t kSeed = 1;

struct BenchOptions {
  std::string file;
  std::string model;
  std::string optimizer = "adam";
  int64_t batch_size = 1;
  int64_t steps = 20;
  int64_t classes = 5;
  int threads = 0;
  bool json = false;
  bool profile = false;
  bool recipe = false;
};

struct Times {
  double min = 0;     ///< ms
  double median = 0;  ///< ms
};

/// Runs `step` a few times unmeasured, then `steps` times. `profile` (may be null) keeps the measured ones.
Result<Times> measure(int64_t warm_up, int64_t steps, const std::function<Status()>& step,
                      UnitProfile* profile = nullptr) {
  std::vector<double> times;
  for (int64_t i = -warm_up; i < steps; ++i) {
    if (i == 0 && profile != nullptr) profile->reset();
    const auto begin = std::chrono::steady_clock::now();
    NACRE_RETURN_IF_ERROR(step());
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
    if (i >= 0) times.push_back(took.count());
  }
  std::ranges::sort(times);
  const size_t middle = times.size() / 2;
  const double median = times.size() % 2 == 1 ? times[middle] : (times[middle - 1] + times[middle]) / 2;
  return Times{times.front(), median};
}

Status report(const BenchOptions& options, const std::string& what, const Times& times, bool with_rate,
              const UnitProfile* profile = nullptr, std::optional<double> live_cells = std::nullopt) {
  const double rate = with_rate ? static_cast<double>(options.batch_size) * 1000.0 / times.median : 0;
  if (options.json) {
    nlohmann::ordered_json json = {{what + "_ms_min", times.min}, {what + "_ms_median", times.median}};
    if (with_rate) json["images_per_second"] = rate;
    if (with_rate) json["batch_size"] = options.batch_size;
    json["steps"] = options.steps;
    json["threads"] = options.threads;
    json["isa"] = current_isa_name();
    if (live_cells.has_value()) json["live_cells"] = *live_cells;
    if (profile != nullptr) {
      const double peak = peak_flops(options.threads) * 1e-9;
      json["peak_gflops"] = peak;
      json["units"] = profile->json(options.batch_size, peak);
    }
    return print(json.dump() + "\n");
  }
  std::string text = fmt::format("{}: min {:.3f} ms, median {:.3f} ms over {} runs", what, times.min,
                                 times.median, options.steps);
  if (with_rate) text += fmt::format(", {:.1f} images/s (batch {})", rate, options.batch_size);
  if (live_cells.has_value()) text += fmt::format(", {:.0f} % of cells live", *live_cells * 100);
  text += fmt::format(", {} threads, {}\n", options.threads, current_isa_name());
  if (profile != nullptr) text += profile->table(options.batch_size, peak_flops(options.threads) * 1e-9);
  return print(text);
}

/// Pixels that look like noise: what is in a picture does not matter for time.
Tensor synthetic_input(const Shape& shape) {
  Tensor input(shape);
  uint32_t state = 12345;
  for (int64_t i = 0; i < input.size(); ++i) {
    state = state * 1664525U + 1013904223U;
    input.data()[i] = static_cast<float>(state >> 24) / 255.0F;
  }
  return input;
}

struct Network {
  Bundle model;  ///< with initial variables
  Graph training_graph;
  OptimizerOptions recipe;
};

Result<Network> build_network(const Session& session, const ModelDescription& description, int64_t classes) {
  Network network;
  NACRE_ASSIGN_OR_RETURN(network.training_graph, build_graph(description, classes, session.registry));
  NACRE_ASSIGN_OR_RETURN(network.model.graph,
                         redraw_for_prediction(network.training_graph, session.registry));
  network.model.contract = description.input;
  const Shape row{description.input.height, description.input.width, description.input.channels};
  NACRE_ASSIGN_OR_RETURN(const Plan plan, Plan::make(network.model.graph, session.registry, row,
                                                     session.plan_options(Mode::kInference, 1, 1)));
  network.model.variables = plan.initial_variables(kSeed);
  return network;
}

Result<Network> load_network(const Session& session, const BenchOptions& options) {
  NACRE_ASSIGN_OR_RETURN(const ModelDescription description, load_model(options.model, session.registry));
  Result<Network> network = build_network(session, description, options.classes);
  if (!network.ok()) return network.status().at(options.model);
  NACRE_ASSIGN_OR_RETURN(const GivenOptions given, recipe_options(description, options.model));
  NACRE_ASSIGN_OR_RETURN(const TrainSettings settings, read_settings(given));
  NACRE_ASSIGN_OR_RETURN(const TrainOptions training, train_options(settings, false));
  network->recipe = training.optimizer;
  return network;
}

Status bench_train(const Session& session, const BenchOptions& options) {
  OptimizerOptions optimizing;
  for (const auto& e : enum_names(OptimizerKind{})) {
    if (e.name == options.optimizer) optimizing.kind = e.value;
  }
  // Small, so that the weights stay finite on noise.
  optimizing.learning_rate = 1e-6;
  NACRE_ASSIGN_OR_RETURN(Network network, load_network(session, options));
  if (options.recipe) optimizing = network.recipe;
  const InputContract& contract = network.model.contract;
  const Shape row{contract.height, contract.width, contract.channels};
  PlanOptions planning = session.plan_options(Mode::kTraining, options.batch_size, options.threads);
  planning.stream_gradients = true;
  planning.loop_over_images = !options.profile;
  auto made = Plan::make(network.training_graph, session.registry, row, planning);
  if (!made.ok()) return made.status().at(options.model);
  const Plan& plan = *made;
  if (plan.output_shape().rank() != 2) {
    return {StatusCode::kBadData, options.model + ": the output is " + batch_shape(plan.output_shape()) +
                                      ", expected [N, classes]"};
  }
  VariableStore variables = plan.initial_variables(kSeed);
  Optimizer optimizer(optimizing);
  NACRE_RETURN_IF_ERROR(optimizer.add_slots(plan, variables));
  optimizer.bind(plan, variables);
  Executor executor(plan);
  NACRE_RETURN_IF_ERROR(executor.bind(variables));

  const Tensor input = synthetic_input(plan.input_shape());
  const auto n = static_cast<size_t>(options.batch_size);
  std::vector<int32_t> labels(n);
  std::vector<int64_t> samples(n);
  for (size_t i = 0; i < n; ++i) {
    labels[i] = static_cast<int32_t>(static_cast<int64_t>(i) % plan.output_shape()[1]);
    samples[i] = static_cast<int64_t>(i);
  }
  Tensor gradient(plan.output_shape());
  StepContext context{Mode::kTraining, options.threads, kSeed, 0, samples};
  int64_t step = 0;
  UnitProfile profile(plan);
  UnitProfile* const kept = options.profile ? &profile : nullptr;
  executor.observe(kept);
  const auto run = [&]() -> Status {
    const TensorView<const float> logits = executor.forward(input.view(), context);
    static_cast<void>(softmax_cross_entropy(logits, labels, gradient.view()));
    optimizer.begin_step(++step, optimizing.learning_rate);
    executor.backward(input.view(), gradient.view(), context, &optimizer);
    optimizer.apply(executor, step, optimizing.learning_rate, options.threads);
    ++context.epoch;
    return {};
  };
  NACRE_ASSIGN_OR_RETURN(const Times times, measure(3, options.steps, run, kept));
  LiveCells live(plan, executor);
  executor.observe(&live);
  static_cast<void>(executor.forward(input.view(), context));
  return report(options, "step", times, true, kept, live.share());
}

/// One prediction of images that are network input [n, H, W, C] already.
Status classify_floats(const Model& model, const Tensor& input) {
  std::vector<float> probabilities(static_cast<size_t>(input.shape()[0] * model.classes()));
  return model.classify_inputs({input.data(), static_cast<size_t>(input.size())}, probabilities);
}

/// Predictions by an executor of the model's plan, operator by operator over the whole batch.
Status profile_inference(const Session& session, const BenchOptions& options, const Bundle& bundle) {
  const InputContract& contract = bundle.contract;
  const Shape row{contract.height, contract.width, contract.channels};
  PlanOptions planning = session.plan_options(Mode::kInference, options.batch_size, options.threads);
  planning.loop_over_images = false;
  NACRE_ASSIGN_OR_RETURN(const Plan plan, Plan::make(bundle.graph, session.registry, row, planning));
  NACRE_RETURN_IF_ERROR(plan.check_variables(bundle.variables));
  const PackedVariables packed(plan, bundle.variables, options.threads);
  Executor executor(plan);
  NACRE_RETURN_IF_ERROR(executor.bind(bundle.variables, &packed));
  UnitProfile profile(plan);
  executor.observe(&profile);
  const Tensor input = synthetic_input(plan.input_shape());
  const StepContext context{Mode::kInference, options.threads, kSeed, 0, {}};
  const auto run = [&]() -> Status {
    static_cast<void>(executor.forward(input.view(), context));
    return {};
  };
  NACRE_ASSIGN_OR_RETURN(const Times times, measure(5, options.steps, run, &profile));
  return report(options, "latency", times, true, &profile);
}

Status bench_infer(const Session& session, const BenchOptions& options) {
  Bundle bundle;
  if (options.file.empty()) {
    NACRE_ASSIGN_OR_RETURN(Network network, load_network(session, options));
    bundle = std::move(network.model);
  } else {
    OpenOptions opening;
    opening.model = options.model;
    NACRE_ASSIGN_OR_RETURN(OpenedModel opened, open_model(session, options.file, opening));
    bundle = std::move(opened.model);
  }
  if (options.profile) return profile_inference(session, options, bundle);
  auto made = Model::make(std::make_shared<const Bundle>(std::move(bundle)), session.registry,
                          session.model_options(options.batch_size, options.threads));
  if (!made.ok()) return made.status().at(options.file.empty() ? options.model : options.file);
  const InputContract& contract = made->input();
  const Tensor input =
      synthetic_input(Shape{options.batch_size, contract.height, contract.width, contract.channels});
  NACRE_ASSIGN_OR_RETURN(const Times times,
                         measure(5, options.steps, [&] { return classify_floats(*made, input); }));
  return report(options, "latency", times, true);
}

/// From a closed file to the first prediction, all but the start of the process.
Status bench_load(const Session& session, const BenchOptions& options) {
  OpenOptions opening;
  opening.model = options.model;
  const auto load = [&]() -> Status {
    NACRE_ASSIGN_OR_RETURN(OpenedModel opened, open_model(session, options.file, opening));
    NACRE_ASSIGN_OR_RETURN(const Model model,
                           Model::make(std::make_shared<const Bundle>(std::move(opened.model)),
                                       session.registry, session.model_options(1, options.threads)));
    const InputContract& contract = model.input();
    return classify_floats(model, Tensor(Shape{1, contract.height, contract.width, contract.channels}));
  };
  NACRE_ASSIGN_OR_RETURN(const Times times, measure(1, options.steps, load));
  return report(options, "load", times, false);
}

using Bench = Status (*)(const Session&, const BenchOptions&);

CLI::App* add_bench(CLI::App& parent, Command& chosen, const std::string& name, const std::string& doc,
                    Bench run, const std::shared_ptr<BenchOptions>& options) {
  CLI::App* command = parent.add_subcommand(name, doc);
  command->add_option("--steps", options->steps, "measured runs (default: 20)")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20))
      ->type_name("N");
  add_threads_option(*command, options->threads);
  add_json_option(*command, options->json);
  command->callback([options, run, &chosen] {
    chosen = [options, run](const Session& session) { return run(session, *options); };
  });
  return command;
}

void add_network_options(CLI::App& command, BenchOptions& options) {
  command
      .add_option("--batch-size", options.batch_size,
                  fmt::format("images that run together (default: {})", options.batch_size))
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20))
      ->type_name("B");
  command.add_option("--classes", options.classes, "classes of a --model (default: 5)")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20))
      ->type_name("N");
  command.add_flag("--profile", options.profile, "also say where the time goes, operator by operator");
}

}  // namespace

void add_bench_command(CLI::App& app, Command& chosen) {
  CLI::App* bench = app.add_subcommand("bench", "time the engine on synthetic input");
  bench->require_subcommand(1);

  auto train = std::make_shared<BenchOptions>();
  train->batch_size = 100;
  CLI::App* command = add_bench(*bench, chosen, "train", "time training steps: forward, backward, update",
                                bench_train, train);
  command->add_option("--model", train->model, "preset or model file")->type_name("PRESET|FILE")->required();
  std::vector<std::string> optimizers;
  for (const auto& e : enum_names(OptimizerKind{})) optimizers.emplace_back(e.name);
  command->add_option("--optimizer", train->optimizer, "whose update to time (default: adam)")
      ->check(CLI::IsMember(optimizers))
      ->type_name(names_of<OptimizerKind>());
  command
      ->add_flag("--recipe", train->recipe,
                 "the update of the model's recipe, with its rate, in place of --optimizer's with a tiny one")
      ->excludes("--optimizer");
  add_network_options(*command, *train);

  auto infer = std::make_shared<BenchOptions>();
  command = add_bench(*bench, chosen, "infer", "time predictions", bench_infer, infer);
  CLI::Option* file = command->add_option("FILE", infer->file, "bundle, checkpoint or run folder");
  CLI::Option* model =
      command->add_option("--model", infer->model, "preset or model file")->type_name("PRESET|FILE");
  add_network_options(*command, *infer);
  command->callback([infer, file, model, &chosen] {
    if (file->empty() && model->empty()) throw CLI::RequiredError("FILE or --model");
    chosen = [infer](const Session& session) { return bench_infer(session, *infer); };
  });

  auto load = std::make_shared<BenchOptions>();
  command =
      add_bench(*bench, chosen, "load", "time opening a file up to its first prediction", bench_load, load);
  command->add_option("FILE", load->file, "bundle, checkpoint or run folder")->required();
  command->add_option("--model", load->model, "preset or model file that a checkpoint belongs to")
      ->type_name("PRESET|FILE");
}

}  // namespace nacre
