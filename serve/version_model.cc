#include "serve/version_model.h"

#include <fmt/format.h>

#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "runtime/prediction_bundle.h"
#include "serialize/tensorflow/saved_model_import.h"
#include "serialize/tensorflow/saved_model_mark.h"
#include "serialize/tensorflow/warmup_records.h"
#include "train/csv.h"

namespace nacre {
namespace {

namespace fs = std::filesystem;

/// What else saved_model.pb says that there is. Of the rest the reader knows itself.
Status check_complete(const ImportedModel& model, const std::string& folder) {
  const auto missing = [](const std::string& path, const std::string& reason) {
    return Status(StatusCode::kCorrupt, path + ": is missing (or not copied yet): " + reason);
  };
  for (const std::string& asset : model.assets) {
    const std::string path = folder + "/assets/" + asset;
    std::error_code error;
    if (!fs::exists(path, error)) return missing(path, "saved_model.pb names it");
  }
  if (!model.lacks_mark) return {};
  return missing(fmt::format("{}/{}/{}", folder, kExtraFolder, kMarkFile),
                 "nacre wrote saved_model.pb with it");
}

Result<VersionModel> read_saved_model(const std::string& name, const std::string& folder,
                                      const Registry& registry) {
  ImportOptions options;
  options.tell_signatures = true;
  NACRE_ASSIGN_OR_RETURN(ImportedModel imported, import_saved_model(folder, options, registry));
  NACRE_RETURN_IF_ERROR(check_complete(imported, folder));
  NACRE_ASSIGN_OR_RETURN(const std::string labels, read_labels_asset(folder));
  if (!labels.empty()) {
    NACRE_ASSIGN_OR_RETURN(imported.contract.labels, parse_labels(labels, folder + "/assets/labels.txt"));
  }
  auto bundle = make_prediction_bundle(name, imported.graph, std::move(imported.variables), imported.contract,
                                       registry);
  if (!bundle.ok()) return bundle.status().at(folder);
  bundle->golden = std::move(imported.golden);
  VersionModel model{std::move(*bundle), {}, std::move(imported.signatures)};
  if (!imported.scale_told) {
    model.notes.push_back(fmt::format(
        "{}: signature {} does not tell what range of numbers it takes: encoded images are scaled by {} "
        "(for another, serve what `nacre convert --to bundle --scale FACTOR` makes of it)",
        folder, imported.signature, model.bundle.contract.scale));
  }
  for (const auto& [signature, reason] : model.signatures.left_out) {
    model.notes.push_back(fmt::format("{}: signature {:?} is not served: {}", folder, signature, reason));
  }
  return model;
}

}  // namespace

Result<VersionModel> read_version_model(const std::string& name, const std::string& folder,
                                        const Registry& registry) {
  std::vector<std::string> bundles;
  bool saved_model = false;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    const fs::path& path = entry->path();
    const std::string file = path.filename().string();
    if (path.extension() == ".nacre" && !file.starts_with('.')) bundles.push_back(path.string());
    if (file == "saved_model.pb") saved_model = true;
  }
  if (error) return Status(StatusCode::kIo, folder + ": " + error.message());
  if (bundles.size() + (saved_model ? 1 : 0) != 1) {
    return Status(StatusCode::kBadData, folder + ": holds " + std::to_string(bundles.size()) +
                                            " *.nacre bundles and " + (saved_model ? "a" : "no") +
                                            " SavedModel, expected one of them");
  }
  if (saved_model) return read_saved_model(name, folder, registry);
  ReadOptions options;
  options.depth = LoadDepth::kVerify;
  options.use_mmap = false;
  NACRE_ASSIGN_OR_RETURN(Bundle bundle, open_bundle(bundles.front(), registry, options));
  return VersionModel{std::move(bundle), {}, {}};
}

}  // namespace nacre
