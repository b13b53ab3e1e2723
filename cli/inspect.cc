#include <fmt/format.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/console.h"
#include "cli/inspect_parts.h"
#include "cli/inspect_tensorflow.h"
#include "cli/open_model.h"
#include "cli/tensorflow_files.h"
#include "serialize/bundle_file.h"

namespace nacre {
namespace {

using enum Table::Align;

struct InspectOptions {
  std::string file;
  std::string model;
  int threads = 0;
  bool json = false;
};

/// What there is to say of a file.
struct Contents {
  std::string path;
  std::string kind;
  std::string name;
  InputContract contract;
  VariableStore variables;  ///< slots too
  std::vector<NodeSummary> layers;
  std::vector<Node> nodes;  ///< those that `layers` sums up, one to one
  std::vector<Signature> signatures;
  size_t golden = 0;
  std::map<std::string, std::string> provenance;
  std::optional<TrainingState> state;  ///< of a checkpoint, as are the next two
  std::string recipe;
  std::string nacre_version;
};

Result<Contents> read_contents(const Session& session, const InspectOptions& options) {
  OpenOptions opening;
  opening.model = options.model;
  opening.read.allow_nonfinite = true;
  NACRE_ASSIGN_OR_RETURN(const std::string path, resolve_model_file(options.file));
  NACRE_ASSIGN_OR_RETURN(const FileKind kind, detect_kind(path));
  Contents contents;
  contents.path = path;
  if (kind != FileKind::kCheckpoint) {
    NACRE_ASSIGN_OR_RETURN(OpenedModel opened, open_model(session, options.file, opening));
    contents.kind = "bundle";
    contents.name = opened.model.name;
    contents.contract = opened.model.contract;
    contents.signatures = opened.model.signatures;
    contents.golden = opened.model.golden.size();
    contents.provenance = opened.model.provenance;
    NACRE_ASSIGN_OR_RETURN(contents.layers, layers_of(session, opened.model.graph, contents.contract));
    contents.nodes = opened.model.graph.nodes();
    contents.variables = std::move(opened.model.variables);
    return contents;
  }
  NACRE_ASSIGN_OR_RETURN(Checkpoint checkpoint, read_model_checkpoint(options.file, path, opening.read));
  contents.kind = "checkpoint";
  contents.contract = std::move(checkpoint.contract);
  contents.variables = std::move(checkpoint.variables);
  contents.state = std::move(checkpoint.state);
  contents.recipe = std::move(checkpoint.recipe);
  contents.nacre_version = std::move(checkpoint.nacre_version);
  if (!options.model.empty() || run_folder_of(path).has_value()) {
    NACRE_ASSIGN_OR_RETURN(const OpenedModel opened, open_model(session, path, opening));
    contents.name = opened.model.name;
    contents.contract = opened.model.contract;
    NACRE_ASSIGN_OR_RETURN(contents.layers, layers_of(session, opened.training_graph, contents.contract));
    contents.nodes = opened.training_graph.nodes();
  }
  return contents;
}

Status print_json(const Contents& contents) {
  const InputContract& in = contents.contract;
  Json json = {{"kind", contents.kind}, {"file", contents.path}, {"name", contents.name}};
  json["input"] = input_json(in);
  json["layers"] = layers_json(contents.layers, contents.nodes);
  json["variables"] = Json::array();
  for (const auto& [name, tensor] : contents.variables.tensors()) {
    const std::vector<int64_t> shape(tensor.shape().dims().begin(), tensor.shape().dims().end());
    json["variables"].push_back({{"name", name}, {"shape", shape}});
  }
  json["signatures"] = signatures_json(contents.signatures);
  json["labels"] = in.labels;
  json["golden_vectors"] = contents.golden;
  json["provenance"] = Json::object();
  for (const auto& [key, value] : contents.provenance) json["provenance"][key] = parsed_or_text(value);
  if (contents.state.has_value()) {
    json["provenance"]["nacre_version"] = contents.nacre_version;
    json["state"] = state_json(*contents.state);
    json["recipe"] = parsed_or_text(contents.recipe);
  }
  return print(json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

Status print_text(const Contents& contents) {
  const InputContract& in = contents.contract;
  std::string text = fmt::format("{}: {}{}{}\n", printable(contents.path), contents.kind,
                                 contents.name.empty() ? "" : " ", contents.name);
  text += input_line(in) + "\n";
  text +=
      contents.layers.empty() ? "layers: not in a checkpoint (give --model)\n" : layer_table(contents.layers);

  Table variables({{"variable", kLeft}, {"shape", kLeft}, {"elements", kRight}});
  for (const auto& [name, tensor] : contents.variables.tensors()) {
    variables.add_row({name, tensor.shape().to_string(), with_commas(tensor.size())});
  }
  text += "\n" + variables.to_string() + "\n";
  text += labels_line(in.labels) + signature_lines(contents.signatures);
  if (contents.kind == "bundle") text += fmt::format("golden vectors: {}\n", contents.golden);
  for (const auto& [key, value] : contents.provenance)
    text += printable(key) + ":" + settings_text(value) + "\n";
  if (contents.state.has_value()) {
    text += state_line(*contents.state);
    text += printable("data digest: " + contents.state->data_digest) + "\n";
    text += "recipe:" + settings_text(contents.recipe) + "\n";
    text += printable("nacre_version: " + contents.nacre_version) + "\n";
  }
  return print(text);
}

Status run_inspect(const Session& session, const InspectOptions& options) {
  NACRE_ASSIGN_OR_RETURN(const auto foreign, find_tensorflow_file(options.file));
  if (foreign.has_value()) return inspect_tensorflow(session, *foreign, options.json);
  NACRE_ASSIGN_OR_RETURN(const Contents contents, read_contents(session, options));
  return options.json ? print_json(contents) : print_text(contents);
}

}  // namespace

void add_inspect_command(CLI::App& app, Command& chosen) {
  auto options = std::make_shared<InspectOptions>();
  CLI::App* command = app.add_subcommand("inspect", "show what is inside a model, checkpoint or run");
  command
      ->add_option("FILE", options->file,
                   "bundle, checkpoint, run folder, SavedModel or TensorFlow checkpoint")
      ->required();
  command->add_option("--model", options->model, "preset or model file that a checkpoint belongs to")
      ->type_name("PRESET|FILE");
  add_threads_option(*command, options->threads);
  add_json_option(*command, options->json);
  command->callback([options, &chosen] {
    chosen = [options](const Session& session) { return run_inspect(session, *options); };
  });
}

}  // namespace nacre
