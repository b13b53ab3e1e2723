#include "cli/open_model.h"

#include <filesystem>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "cli/run_checkpoints.h"
#include "engine/file.h"
#include "layers/strict_json.h"
#include "runtime/prediction_bundle.h"
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

/// open_model of `path`, which `file` stands for.
Result<OpenedModel> open_checkpoint(const Session& session, const std::string& file, const std::string& path,
                                    const OpenOptions& options) {
  NACRE_ASSIGN_OR_RETURN(Checkpoint checkpoint, read_model_checkpoint(file, path, options.read));
  OpenedModel opened;
  opened.kind = FileKind::kCheckpoint;
  opened.path = path;
  opened.state = std::move(checkpoint.state);
  opened.recipe = std::move(checkpoint.recipe);
  opened.nacre_version = std::move(checkpoint.nacre_version);
  InputContract contract = std::move(checkpoint.contract);

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
  const auto classes = static_cast<int64_t>(contract.labels.size());
  auto graph = build_graph(description, classes, session.registry);
  if (!graph.ok()) return graph.status().at(options.model.empty() ? path : options.model);
  opened.training_graph = std::move(graph).value();
  auto made = make_prediction_bundle(description.name, opened.training_graph, std::move(checkpoint.variables),
                                     std::move(contract), session.registry);
  if (!made.ok()) return made.status().at(path);
  opened.model = std::move(made).value();
  return opened;
}

std::string in_its_place(const std::string& newest) {
  return "; give " + newest + " in its place, the newest checkpoint of the run that can be read";
}

/// `why` the file at `path` cannot be read, with what is there in its place when it is a damaged one that
/// stands for the run folder `file`.
Status with_newest(const std::string& file, const std::string& path, Status why) {
  if (why.code() != StatusCode::kCorrupt || path == file) return why;
  const std::optional<std::string> newest = newest_readable(RunFolder(file));
  if (!newest.has_value()) return why;
  return {StatusCode::kCorrupt, why.message() + in_its_place(*newest)};
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
  if (is_there(fs::path(file) / "saved_model.pb")) {
    return Status(StatusCode::kBadData,
                  file + ": is a SavedModel; nacre convert --to bundle makes a bundle of it");
  }
  const RunFolder run(file);
  if (!is_there(run.config()) && !is_there(run.checkpoints())) {
    return Status(StatusCode::kBadData,
                  file + ": is a folder, expected a bundle, a checkpoint or a run folder of nacre train");
  }
  // Where `best` leads nowhere, `latest` is not what was asked for.
  const bool best = which == RunCheckpoint::kBest && fs::exists(fs::symlink_status(run.best(), error));
  const std::string link = best ? run.best() : run.latest();
  if (is_there(link)) return link;
  const std::optional<std::string> newest = newest_readable(run);
  if (!newest.has_value()) return Status(StatusCode::kBadData, file + ": the run has no checkpoint yet");
  return Status(StatusCode::kBadData, link + ": leads to no checkpoint" + in_its_place(*newest));
}

Result<Checkpoint> read_model_checkpoint(const std::string& file, const std::string& path,
                                         const ReadOptions& options) {
  Result<Checkpoint> checkpoint = read_checkpoint(path, options);
  if (checkpoint.ok()) return checkpoint;
  return with_newest(file, path, checkpoint.status());
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
      break;
    case FileKind::kCheckpoint:
      return open_checkpoint(session, file, path, options);
    case FileKind::kOther:
      break;  // the reader of bundles says what is wrong with it
  }
  auto bundle = open_bundle(path, session.registry, options.read);
  if (!bundle.ok()) return with_newest(file, path, bundle.status());
  OpenedModel opened;
  opened.kind = FileKind::kBundle;
  opened.path = path;
  opened.model = std::move(bundle).value();
  return opened;
}

}  // namespace nacre
