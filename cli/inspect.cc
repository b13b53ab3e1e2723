#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "cli/command.h"
#include "cli/console.h"
#include "cli/open_model.h"
#include "serialize/bundle_file.h"
#include "serialize/checkpoint_file.h"

namespace nacre {
namespace {

using Json = nlohmann::ordered_json;
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

Result<std::vector<NodeSummary>> layers_of(const Session& session, const Graph& graph,
                                           const InputContract& contract) {
  const Shape row{contract.height, contract.width, contract.channels};
  NACRE_ASSIGN_OR_RETURN(const Plan plan, Plan::make(graph, session.registry, row,
                                                     session.plan_options(Mode::kInference, 1, 1)));
  return plan.nodes();
}

Result<Contents> read_contents(const Session& session, const InspectOptions& options) {
  OpenOptions opening;
  opening.model = options.model;
  opening.read.allow_nonfinite = true;
  NACRE_ASSIGN_OR_RETURN(const std::string path, resolve_model_file(options.file));
  NACRE_ASSIGN_OR_RETURN(const FileKind kind, detect_kind(path));
  Contents contents;
  contents.path = path;
  if (kind != FileKind::kCheckpoint) {
    NACRE_ASSIGN_OR_RETURN(OpenedModel opened, open_model(session, path, opening));
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
  NACRE_ASSIGN_OR_RETURN(Checkpoint checkpoint, read_checkpoint(path, opening.read));
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

std::string_view dct_name(JpegDct dct) {
  return dct == JpegDct::kFast ? "fast" : "accurate";
}
std::string_view exif_name(ExifPolicy exif) {
  return exif == ExifPolicy::kApply ? "apply" : "ignore";
}
std::string_view resize_name(ResizePolicy resize) {
  return resize == ResizePolicy::kExact ? "exact" : "bilinear";
}

std::string dims_text(const std::vector<int64_t>& dims) {
  return fmt::format("[{}]", fmt::join(dims, ", "));
}

/// JSON text from a file as JSON, or as text when it is none.
Json parsed_or_text(const std::string& text) {
  Json json = Json::parse(text, nullptr, false);
  return json.is_discarded() ? Json(text) : json;
}

Json state_json(const TrainingState& state) {
  Json json = {{"step", state.step},
               {"epoch", state.epoch},
               {"batch_in_epoch", state.batch_in_epoch},
               {"seed", state.seed},
               {"data_digest", state.data_digest},
               {"best_accuracy", nullptr},
               {"best_step", state.best_step},
               {"validations_since_best", state.validations_since_best}};
  if (state.best_accuracy >= 0) json["best_accuracy"] = state.best_accuracy;
  return json;
}

/// What the graph says of a layer, and what the plan makes of it.
Json layer_json(const NodeSummary& layer, const Node& node) {
  Json attributes = Json::object();
  for (const auto& [name, value] : node.attributes) {
    attributes[name] = std::visit([](const auto& v) { return Json(v); }, value);
  }
  const std::vector<int64_t> shape(layer.output.dims().begin() + 1, layer.output.dims().end());
  return {{"name", layer.name},
          {"op", layer.op},
          {"inputs", node.inputs},
          {"attributes", attributes},
          {"output_shape", shape},
          {"parameters", layer.parameters},
          {"mflop", static_cast<double>(layer.flops_per_row) / 1e6}};
}

Json tensors_json(const std::vector<SignatureTensor>& tensors) {
  Json list = Json::array();
  for (const SignatureTensor& t : tensors)
    list.push_back({{"name", t.name}, {"dtype", t.dtype}, {"shape", t.shape}});
  return list;
}

Status print_json(const Contents& contents) {
  const InputContract& in = contents.contract;
  Json json = {{"kind", contents.kind}, {"file", contents.path}, {"name", contents.name}};
  json["input"] = {{"height", in.height},        {"width", in.width},
                   {"channels", in.channels},    {"jpeg_dct", dct_name(in.jpeg_dct)},
                   {"exif", exif_name(in.exif)}, {"resize", resize_name(in.resize)},
                   {"scale", in.scale}};
  json["layers"] = Json::array();
  for (size_t i = 0; i < contents.layers.size(); ++i) {
    json["layers"].push_back(layer_json(contents.layers[i], contents.nodes[i]));
  }
  json["variables"] = Json::array();
  for (const auto& [name, tensor] : contents.variables.tensors()) {
    const std::vector<int64_t> shape(tensor.shape().dims().begin(), tensor.shape().dims().end());
    json["variables"].push_back({{"name", name}, {"shape", shape}});
  }
  json["signatures"] = Json::array();
  for (const Signature& s : contents.signatures) {
    json["signatures"].push_back({{"name", s.name},
                                  {"method", s.method},
                                  {"inputs", tensors_json(s.inputs)},
                                  {"outputs", tensors_json(s.outputs)}});
  }
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

std::string layer_table(const Contents& contents) {
  Table table(
      {{"layer", kLeft}, {"op", kLeft}, {"output", kLeft}, {"parameters", kRight}, {"MFLOP", kRight}});
  int64_t parameters = 0;
  int64_t flops = 0;
  const auto mflop = [](int64_t n) { return fmt::format("{:.3f}", static_cast<double>(n) / 1e6); };
  for (const NodeSummary& layer : contents.layers) {
    const std::vector<int64_t> shape(layer.output.dims().begin() + 1, layer.output.dims().end());
    table.add_row({layer.name, layer.op, fmt::format("{}", fmt::join(shape, " x ")),
                   with_commas(layer.parameters), mflop(layer.flops_per_row)});
    parameters += layer.parameters;
    flops += layer.flops_per_row;
  }
  table.add_rule();
  table.add_row({"total", "", "", with_commas(parameters), mflop(flops)});
  return table.to_string();
}

/// "serving_default (tensorflow/serving/predict): image string [-1] -> prediction float32 [-1, 10]"
std::string signature_line(const Signature& signature) {
  const auto list = [](const std::vector<SignatureTensor>& tensors) {
    std::vector<std::string> texts;
    for (const SignatureTensor& t : tensors)
      texts.push_back(fmt::format("{} {} {}", t.name, t.dtype, dims_text(t.shape)));
    return fmt::format("{}", fmt::join(texts, ", "));
  };
  return fmt::format("{} ({}): {} -> {}", signature.name, signature.method, list(signature.inputs),
                     list(signature.outputs));
}

/// What comes after "recipe:". Of a JSON object "batch-size 100, optimizer adam, ..." in indented lines that
/// fit a terminal; other text as it is.
std::string settings_text(const std::string& text) {
  const Json json = parsed_or_text(text);
  if (!json.is_object()) return " " + printable(text);
  constexpr size_t kWidth = 80;
  constexpr std::string_view kIndent = "  ";
  std::string result;
  size_t column = kWidth;
  for (const auto& [key, value] : json.items()) {
    const std::string shown = value.is_string() ? value.get<std::string>()
                                                : value.dump(-1, ' ', false, Json::error_handler_t::replace);
    const std::string entry = printable(key + " " + shown);
    if (!result.empty()) result += ",";
    if (column + entry.size() + 3 > kWidth) {
      result += "\n" + std::string(kIndent);
      column = kIndent.size();
    } else {
      result += " ";
    }
    result += entry;
    column += entry.size() + 2;
  }
  return result;
}

/// "step 60, 3 epochs done and 6 batches of the next, seed 1, best validation accuracy 91.00% (step 40)"
std::string state_text(const TrainingState& state) {
  std::string text = fmt::format("step {}, {} done", with_commas(static_cast<int64_t>(state.step)),
                                 counted(static_cast<int64_t>(state.epoch), "epoch"));
  if (state.batch_in_epoch > 0) {
    text += fmt::format(" and {} of the next",
                        counted(static_cast<int64_t>(state.batch_in_epoch), "batch", "batches"));
  }
  text += fmt::format(", seed {}", state.seed);
  if (state.best_accuracy >= 0) {
    text += fmt::format(", best validation accuracy {:.2f}% (step {})", 100 * state.best_accuracy,
                        with_commas(static_cast<int64_t>(state.best_step)));
  }
  return text;
}

Status print_text(const Contents& contents) {
  constexpr size_t kMaxLabels = 20;
  const InputContract& in = contents.contract;
  std::string text = fmt::format("{}: {}{}{}\n", printable(contents.path), contents.kind,
                                 contents.name.empty() ? "" : " ", contents.name);
  text +=
      fmt::format("input: {} x {} x {}, scale {}, jpeg_dct {}, exif {}, resize {}\n\n", in.height, in.width,
                  in.channels, in.scale, dct_name(in.jpeg_dct), exif_name(in.exif), resize_name(in.resize));
  text += contents.layers.empty() ? "layers: not in a checkpoint (give --model)\n" : layer_table(contents);

  Table variables({{"variable", kLeft}, {"shape", kLeft}, {"elements", kRight}});
  for (const auto& [name, tensor] : contents.variables.tensors()) {
    variables.add_row({name, tensor.shape().to_string(), with_commas(tensor.size())});
  }
  text += "\n" + variables.to_string() + "\n";
  const size_t shown = std::min(in.labels.size(), kMaxLabels);
  const std::vector<std::string> labels(in.labels.begin(),
                                        in.labels.begin() + static_cast<std::ptrdiff_t>(shown));
  text += printable(fmt::format("labels ({}): {}{}", in.labels.size(), fmt::join(labels, ", "),
                                shown < in.labels.size() ? ", ..." : "")) +
          "\n";
  for (const Signature& s : contents.signatures) text += printable("signature " + signature_line(s)) + "\n";
  if (contents.kind == "bundle") text += fmt::format("golden vectors: {}\n", contents.golden);
  for (const auto& [key, value] : contents.provenance)
    text += printable(key) + ":" + settings_text(value) + "\n";
  if (contents.state.has_value()) {
    text += state_text(*contents.state) + "\n";
    text += printable("data digest: " + contents.state->data_digest) + "\n";
    text += "recipe:" + settings_text(contents.recipe) + "\n";
    text += printable("nacre_version: " + contents.nacre_version) + "\n";
  }
  return print(text);
}

Status run_inspect(const Session& session, const InspectOptions& options) {
  NACRE_ASSIGN_OR_RETURN(const Contents contents, read_contents(session, options));
  return options.json ? print_json(contents) : print_text(contents);
}

}  // namespace

void add_inspect_command(CLI::App& app, Command& chosen) {
  auto options = std::make_shared<InspectOptions>();
  CLI::App* command = app.add_subcommand("inspect", "show what is inside a bundle, checkpoint or run");
  command->add_option("FILE", options->file, "bundle, checkpoint or run folder")->required();
  command->add_option("--model", options->model, "preset or model file that a checkpoint belongs to")
      ->type_name("PRESET|FILE");
  add_threads_option(*command, options->threads);
  add_json_option(*command, options->json);
  command->callback([options, &chosen] {
    chosen = [options](const Session& session) { return run_inspect(session, *options); };
  });
}

}  // namespace nacre
