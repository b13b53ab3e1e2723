#include "cli/open_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "engine/file.h"
#include "layers/strict_json.h"
#include "serialize/bundle_file.h"
#include "serialize/checkpoint_file.h"

namespace nacre {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr size_t kMaxLabels = size_t{1} << 20;

bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

/// Moves the variables that `plan` needs from one store to another.
Status take_variables(const Plan& plan, VariableStore& from, VariableStore& to) {
  NACRE_RETURN_IF_ERROR(plan.check_variables(from));
  for (const PlannedVariable& variable : plan.variables()) {
    NACRE_RETURN_IF_ERROR(to.add(variable.name, std::move(*from.find(variable.name))));
  }
  return {};
}

Result<Plan> plan_of(const Session& session, const Bundle& model) {
  const InputContract& contract = model.contract;
  const Shape row{contract.height, contract.width, contract.channels};
  return Plan::make(model.graph, session.registry, row, session.plan_options(Mode::kInference, 1, 1));
}

Status check_labels(const Plan& plan, const InputContract& contract) {
  const Shape& output = plan.output_shape();
  if (output.rank() != 2) {
    return {StatusCode::kBadData,
            "the network's output is " + output.to_string() + ", expected [N, classes]"};
  }
  const auto labels = static_cast<int64_t>(contract.labels.size());
  if (labels != 0 && labels != output[1]) {
    return {StatusCode::kBadData, fmt::format("{} labels for {} outputs", labels, output[1])};
  }
  return {};
}

/// A bundle whose parts do not fit is a damaged file, whatever Plan calls it.
Status as_corrupt(const Status& status) {
  if (status.code() != StatusCode::kBadData) return status;
  return {StatusCode::kCorrupt, status.message()};
}

Result<OpenedModel> open_bundle(const Session& session, const std::string& path, const OpenOptions& options) {
  OpenedModel opened;
  opened.kind = FileKind::kBundle;
  opened.path = path;
  NACRE_ASSIGN_OR_RETURN(opened.model, read_bundle(path, options.read));
  const Result<Plan> plan = plan_of(session, opened.model);
  if (!plan.ok()) return as_corrupt(plan.status().at(path));
  NACRE_RETURN_IF_ERROR(as_corrupt(check_labels(*plan, opened.model.contract).at(path)));
  NACRE_RETURN_IF_ERROR(as_corrupt(plan->check_variables(opened.model.variables).at(path)));
  return opened;
}

Result<OpenedModel> open_checkpoint(const Session& session, const std::string& path,
                                    const OpenOptions& options) {
  NACRE_ASSIGN_OR_RETURN(Checkpoint checkpoint, read_checkpoint(path, options.read));
  OpenedModel opened;
  opened.kind = FileKind::kCheckpoint;
  opened.path = path;
  opened.state = std::move(checkpoint.state);
  opened.recipe = std::move(checkpoint.recipe);
  opened.nacre_version = std::move(checkpoint.nacre_version);
  InputContract& contract = opened.model.contract;
  contract = std::move(checkpoint.contract);

  ModelDescription description;
  if (!options.model.empty()) {
    NACRE_ASSIGN_OR_RETURN(description, load_model(options.model, session.registry));
  } else if (const auto run = run_folder_of(path); run.has_value()) {
    NACRE_ASSIGN_OR_RETURN(RunConfig config, read_run_config(*run, session.registry));
    description = std::move(config.model);
    if (contract.labels.empty()) contract.labels = std::move(config.labels);
  } else {
    return Status(StatusCode::kUsage,
                  path + ": a checkpoint holds no network and this one lies in no run folder: give --model");
  }
  if (contract.labels.empty()) {
    return Status(StatusCode::kBadData, path + ": has no labels, so the number of classes is not known");
  }
  opened.model.name = description.name;
  const auto classes = static_cast<int64_t>(contract.labels.size());
  auto graph = build_graph(description, classes, session.registry);
  if (!graph.ok()) return graph.status().at(path);
  opened.training_graph = std::move(graph).value();
  NACRE_ASSIGN_OR_RETURN(opened.model.graph, redraw_for_prediction(opened.training_graph, session.registry));
  const Result<Plan> plan = plan_of(session, opened.model);
  if (!plan.ok()) return plan.status().at(path);
  NACRE_RETURN_IF_ERROR(check_labels(*plan, contract).at(path));
  NACRE_RETURN_IF_ERROR(take_variables(*plan, checkpoint.variables, opened.model.variables).at(path));
  return opened;
}

}  // namespace

Result<std::string> resolve_model_file(const std::string& file, RunCheckpoint which) {
  std::error_code error;
  const fs::file_status status = fs::status(file, error);
  if (status.type() == fs::file_type::not_found) {
    return Status(StatusCode::kIo, file + ": No such file or directory");
  }
  if (error) return Status(StatusCode::kIo, file + ": " + error.message());
  if (!fs::is_directory(status)) return file;
  const fs::path checkpoints = fs::path(file) / "checkpoints";
  if (!is_there(fs::path(file) / "config.json") && !is_there(checkpoints)) {
    return Status(StatusCode::kBadData,
                  file + ": is a folder, expected a bundle, a checkpoint or a run folder of nacre train");
  }
  if (which == RunCheckpoint::kBest && is_there(checkpoints / "best")) return (checkpoints / "best").string();
  if (is_there(checkpoints / "latest")) return (checkpoints / "latest").string();
  return Status(StatusCode::kBadData, file + ": the run has no checkpoint yet");
}

std::optional<std::string> run_folder_of(const std::string& checkpoint) {
  const fs::path folder = fs::path(checkpoint).parent_path();
  fs::path run;
  if (folder.filename() == "checkpoints") {
    run = folder.has_parent_path() ? folder.parent_path() : fs::path(".");
  } else if (folder.empty() || folder == ".") {
    std::error_code error;
    if (fs::current_path(error).filename() == "checkpoints") run = "..";
  }
  if (run.empty() || !is_there(run / "config.json")) return std::nullopt;
  return run.string();
}

Result<RunConfig> read_run_config(const std::string& run_folder, const Registry& registry) {
  const std::string path = (fs::path(run_folder) / "config.json").string();
  NACRE_ASSIGN_OR_RETURN(const std::vector<std::byte> bytes, read_file(path, kMaxJsonBytes));
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  NACRE_ASSIGN_OR_RETURN(const Json root, parse_strict_json(text, path));
  const auto bad = [&](const std::string& reason) {
    return Status(StatusCode::kBadData, path + ": " + reason);
  };
  if (!root.is_object()) return bad("expected an object, as nacre train writes it");
  const auto model = root.find("model");
  if (model == root.end() || !model->is_object()) return bad("model: expected an object");
  RunConfig config;
  NACRE_ASSIGN_OR_RETURN(config.model, parse_model(model->dump(), path + ": model", registry));
  const auto labels = root.find("labels");
  if (labels == root.end()) return config;
  if (!labels->is_array() || labels->size() > kMaxLabels) return bad("labels: expected a list of names");
  for (const Json& label : *labels) {
    if (!label.is_string()) return bad("labels: expected a list of names");
    config.labels.push_back(label.get<std::string>());
  }
  return config;
}

Result<OpenedModel> open_model(const Session& session, const std::string& file, const OpenOptions& options) {
  NACRE_ASSIGN_OR_RETURN(const std::string path, resolve_model_file(file, options.which));
  NACRE_ASSIGN_OR_RETURN(const FileKind kind, detect_kind(path));
  switch (kind) {
    case FileKind::kBundle:
      if (!options.model.empty()) {
        return Status(StatusCode::kUsage, path + ": a bundle brings its own network: leave --model out");
      }
      return open_bundle(session, path, options);
    case FileKind::kCheckpoint:
      return open_checkpoint(session, path, options);
    case FileKind::kOther:
      break;
  }
  // Its reader says what is wrong with it.
  return read_bundle(path, options.read).status();
}

}  // namespace nacre
