#include "cli/train_config.h"

#include <fmt/format.h>

#include <filesystem>
#include <utility>

#include "cli/command.h"
#include "cli/data_source.h"
#include "cli/usage_error.h"
#include "engine/file.h"
#include "layers/strict_json.h"

namespace nacre {
namespace {

using Json = nlohmann::json;

/// Names all that is not said of what must be, at once.
Status check_required(const TrainSettings& settings, bool has_model) {
  std::vector<std::string> missing;
  std::string_view hint;
  const auto require = [&](bool given, std::string_view name, std::string_view what) {
    if (given) return;
    missing.push_back(fmt::format("--{}", name));
    hint = what;
  };
  require(has_model || !settings.model.empty(), "model", "a preset (see nacre models) or a model file");
  require(!settings.data.empty(), "data",
          "a folder with a sub-folder of images for each class, a CSV list or a folder of IDX files");
  require(!settings.out.empty(), "out", "the folder to write the run to");
  if (missing.empty()) return {};
  return {StatusCode::kUsage, fmt::format("train: {}{} (see nacre train --help)", are_required(missing),
                                          missing.size() == 1 ? ": " + std::string(hint) : "")};
}

}  // namespace

Result<GivenOptions> recipe_options(const ModelDescription& model, const std::string& where) {
  NACRE_ASSIGN_OR_RETURN(const Json recipe,
                         parse_strict_json(model.recipe.empty() ? "{}" : model.recipe, where));
  return given_in_json(recipe, where + ": recipe", /*recipe=*/true);
}

Result<TrainConfig> read_train_config(const std::string& path) {
  NACRE_ASSIGN_OR_RETURN(const std::vector<std::byte> bytes, read_file(path, kMaxJsonBytes));
  TrainConfig config;
  config.path = path;
  NACRE_ASSIGN_OR_RETURN(
      Json object, parse_strict_json({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path));
  if (object.is_object()) {
    object.erase("nacre_version");
    if (const auto digest = object.find("validation_digest"); digest != object.end()) {
      if (!digest->is_string())
        return Status(StatusCode::kBadData, path + ": validation_digest: expected text");
      config.validation_digest = digest->get<std::string>();
      object.erase(digest);
    }
    if (const auto model = object.find("model"); model != object.end() && model->is_object()) {
      config.model = model->dump();
      object.erase(model);
    }
    if (const auto labels = object.find("labels"); labels != object.end()) {
      const auto is_text = [](const Json& label) { return label.is_string(); };
      if (!labels->is_array() || !std::all_of(labels->begin(), labels->end(), is_text)) {
        return Status(StatusCode::kBadData, path + ": labels: expected a list of class names");
      }
      config.labels = labels->get<std::vector<std::string>>();
      object.erase(labels);
    }
  }
  NACRE_ASSIGN_OR_RETURN(config.options, given_in_json(object, path, /*recipe=*/false));
  return config;
}

Result<TrainSetup> settle_train_setup(const Session& session, const GivenOptions& command_line,
                                      const std::optional<TrainConfig>& run) {
  TrainSetup setup;
  GivenOptions given;
  std::optional<std::pair<std::string, std::string>> model_json;  // text and where it stands
  const auto put_config = [&](const TrainConfig& config) {
    put_on_top(given, config.options);
    // Class names go with the data that they were taken from.
    if (config.options.contains("data") || !config.labels.empty()) setup.labels = config.labels;
    if (config.options.contains("model")) model_json.reset();
    if (config.model.has_value()) model_json.emplace(*config.model, config.path + ": model");
  };
  if (run.has_value()) put_config(*run);
  if (const auto config = command_line.find("config"); config != command_line.end()) {
    NACRE_ASSIGN_OR_RETURN(const TrainConfig file,
                           read_train_config(config->second.value.get<std::string>()));
    put_config(file);
  }
  put_on_top(given, command_line);
  if (command_line.contains("data")) setup.labels.clear();
  if (command_line.contains("model")) model_json.reset();

  // Which options go together is settled below, when the recipe is there too.
  NACRE_ASSIGN_OR_RETURN(setup.settings, read_each_setting(given));
  NACRE_RETURN_IF_ERROR(check_required(setup.settings, model_json.has_value()));
  setup.model_origin = setup.settings.model;
  if (model_json.has_value()) {
    setup.model_origin = model_json->second;
    NACRE_ASSIGN_OR_RETURN(setup.model, parse_model(model_json->first, setup.model_origin, session.registry));
  } else {
    NACRE_ASSIGN_OR_RETURN(setup.model, load_model(setup.settings.model, session.registry));
  }
  NACRE_ASSIGN_OR_RETURN(GivenOptions all, recipe_options(setup.model, setup.model_origin));
  put_on_top(all, given);
  NACRE_ASSIGN_OR_RETURN(setup.settings, read_settings(all));
  // A run's model has the policy in it already: only what is said now takes it back.
  if (setup.settings.exif_orient) {
    setup.model.input.exif = ExifPolicy::kApply;
  } else if (command_line.contains("exif-orient")) {
    setup.model.input.exif = ExifPolicy::kIgnore;
  }
  if (!setup.settings.labels.empty()) {
    NACRE_ASSIGN_OR_RETURN(setup.labels, read_labels(setup.settings.labels));
  }
  return setup;
}

std::string config_text(const TrainSetup& setup) {
  TrainSettings settings = setup.settings;
  std::string unused;
  const bool is_path = !validation_fraction(settings.validation).has_value();
  for (std::string* path : {&settings.data, is_path ? &settings.validation : &unused, &settings.image_root,
                            &settings.init_from, &settings.map}) {
    std::error_code error;
    const std::filesystem::path absolute = std::filesystem::absolute(*path, error);
    if (!path->empty() && !error) *path = absolute.lexically_normal().string();
  }
  nlohmann::ordered_json config;
  config["nacre_version"] = nacre_version();
  config["model"] = nlohmann::ordered_json::parse(write_model(setup.model));
  config["labels"] = setup.labels;
  if (!setup.validation_digest.empty()) config["validation_digest"] = setup.validation_digest;
  settings.model.clear();
  config.update(write_settings(settings));
  // A class name need not be well-formed; the text must be.
  return config.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace nacre
