#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "cli/command.h"
#include "cli/console.h"
#include "cli/train_config.h"
#include "engine/plan.h"
#include "layers/model_file.h"

namespace nacre {
namespace {

struct ModelsOptions {
  std::string name;
  int64_t classes = 5;
  bool json = false;
};

struct Size {
  InputContract input;
  int64_t parameters = 0;
  int64_t flops = 0;
};

Result<Size> size_of(const Session& session, const ModelDescription& model, int64_t classes) {
  NACRE_ASSIGN_OR_RETURN(const Graph graph, build_graph(model, classes, session.registry));
  const Shape row{model.input.height, model.input.width, model.input.channels};
  NACRE_ASSIGN_OR_RETURN(const Plan plan, Plan::make(graph, session.registry, row,
                                                     session.plan_options(Mode::kInference, 1, 1)));
  Size size{model.input, 0, 0};
  for (const NodeSummary& node : plan.nodes()) {
    size.parameters += node.parameters;
    size.flops += node.flops_per_row;
  }
  return size;
}

Status list_models(const Session& session, const ModelsOptions& options) {
  using enum Table::Align;
  Table table({{"name", kLeft}, {"input", kLeft}, {"parameters", kRight}, {"MFLOP", kRight}});
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (const std::string& name : preset_names()) {
    NACRE_ASSIGN_OR_RETURN(const ModelDescription model, load_model(name, session.registry));
    NACRE_ASSIGN_OR_RETURN(const Size size, size_of(session, model, options.classes));
    const double mflop = static_cast<double>(size.flops) / 1e6;
    table.add_row({name,
                   fmt::format("{} x {} x {}", size.input.height, size.input.width, size.input.channels),
                   with_commas(size.parameters), fmt::format("{:.2f}", mflop)});
    json.push_back({{"name", name},
                    {"input", {size.input.height, size.input.width, size.input.channels}},
                    {"parameters", size.parameters},
                    {"mflop", mflop}});
  }
  if (options.json) return print(json.dump(2) + "\n");
  return print(
      fmt::format("{}with {} classes; `nacre models NAME` prints one as the JSON that --model reads\n",
                  table.to_string(), options.classes));
}

Status run_models(const Session& session, const ModelsOptions& options) {
  if (options.name.empty()) return list_models(session, options);
  NACRE_ASSIGN_OR_RETURN(const ModelDescription model, load_model(options.name, session.registry));
  // What `train` would refuse is no model file.
  NACRE_RETURN_IF_ERROR(size_of(session, model, options.classes).status().at(options.name));
  NACRE_ASSIGN_OR_RETURN(const GivenOptions recipe, recipe_options(model, options.name));
  NACRE_RETURN_IF_ERROR(read_settings(recipe).status());
  return print(write_model(model));
}

}  // namespace

void add_models_command(CLI::App& app, Command& chosen) {
  auto options = std::make_shared<ModelsOptions>();
  CLI::App* command = app.add_subcommand("models", "list the presets, or print one as a model file");
  command->add_option("NAME", options->name, "preset or model file to print");
  command->add_option("--classes", options->classes, "classes that the listed sizes are for (default: 5)")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20))
      ->type_name("N");
  add_json_option(*command, options->json);
  command->callback([options, &chosen] {
    chosen = [options](const Session& session) { return run_models(session, *options); };
  });
}

}  // namespace nacre
