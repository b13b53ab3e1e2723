#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <filesystem>
#include <optional>
#include <string_view>

#include "cli/command.h"
#include "cli/console.h"
#include "cli/convert.h"
#include "cli/data_source.h"
#include "cli/open_model.h"
#include "cli/output_file.h"
#include "cli/shell_word.h"
#include "cli/tensorflow_files.h"
#include "runtime/golden.h"
#include "runtime/prediction_bundle.h"
#include "serialize/bundle_file.h"
#include "serialize/tensorflow/saved_model_import.h"
#include "train/csv.h"

namespace nacre {
namespace {

namespace fs = std::filesystem;

Status usage(const std::string& reason) {
  return {StatusCode::kUsage, "convert --to bundle: " + reason};
}

/// "HxW"
std::optional<Extent2> parse_size(std::string_view text) {
  constexpr int64_t kMaxExtent = 1 << 20;
  Extent2 size;
  const char* const end = text.data() + text.size();
  const auto height = std::from_chars(text.data(), end, size.height);
  if (height.ec != std::errc() || height.ptr == end || *height.ptr != 'x') return std::nullopt;
  const auto width = std::from_chars(height.ptr + 1, end, size.width);
  if (width.ec != std::errc() || width.ptr != end) return std::nullopt;
  const auto fits = [](int64_t extent) { return extent >= 1 && extent <= kMaxExtent; };
  return fits(size.height) && fits(size.width) ? std::optional(size) : std::nullopt;
}

Result<ImportOptions> import_options(const ConvertOptions& options) {
  if (!options.model.empty()) return usage("--model has no meaning here: the graph is the network");
  if (!options.map.empty()) return usage("--map has no meaning here");
  if (!options.compat.empty()) return usage("--compat has no meaning here");
  if (!options.default_signature.empty()) {
    return usage("--default-signature has no meaning here; --signature says which one is read");
  }
  ImportOptions importing;
  importing.signature = options.signature;
  importing.scale = options.scale.value_or(0);
  if (options.scale.has_value() && !(std::isfinite(*options.scale) && *options.scale > 0)) {
    return usage("--scale: expected a number above 0");
  }
  if (options.input_size.empty()) return importing;
  const std::optional<Extent2> size = parse_size(options.input_size);
  if (!size.has_value()) {
    return usage(fmt::format("--input-size {}: expected HEIGHTxWIDTH, such as 96x96", options.input_size));
  }
  importing.height = size->height;
  importing.width = size->width;
  return importing;
}

/// What is no SavedModel is called by its name, with what makes a bundle of it.
Status check_saved_model(const std::string& in) {
  constexpr std::string_view kWanted = "expected the folder of a SavedModel";
  const auto other = [&](const std::string& path, std::string_view what, std::string_view instead) {
    return Status(StatusCode::kUnsupported, fmt::format("{}: is {}; {}{}", path, what, kWanted, instead));
  };
  NACRE_ASSIGN_OR_RETURN(const auto found, find_tensorflow_file(in));
  if (found.has_value() && found->saved_model) return {};
  if (found.has_value()) {
    return other(found->path, "a TensorFlow checkpoint", "; `nacre convert --to checkpoint` reads it");
  }
  const auto path = resolve_model_file(in, RunCheckpoint::kLatest);
  if (path.status().code() == StatusCode::kBadData) {  // a folder, but of no run
    return {StatusCode::kBadData, fmt::format("{}: holds no saved_model.pb; {}", in, kWanted)};
  }
  if (!path.ok()) return path.status();
  NACRE_ASSIGN_OR_RETURN(const FileKind kind, detect_kind(*path));
  if (kind == FileKind::kBundle) return other(*path, "a nacre bundle already", "");
  if (kind == FileKind::kCheckpoint) {
    return other(*path, "a nacre checkpoint", "; `nacre export` makes a bundle of it");
  }
  return other(*path, "no SavedModel", "");
}

/// The file's of --labels, else those that nacre writes into a SavedModel; none when there are none.
Result<std::vector<std::string>> labels_of(const ConvertOptions& options) {
  return options.labels.empty() ? labels_of_saved_model(options.in) : read_labels(options.labels);
}

/// The last part of the folder's path; of MODELS/faces/1, as servers have it, "faces".
std::string model_name(const std::string& folder) {
  std::error_code error;
  fs::path path = fs::weakly_canonical(folder, error);
  if (error) path = folder;
  std::string name = path.filename().string();
  const bool version = !name.empty() && name.find_first_not_of("0123456789") == std::string::npos;
  if (version && path.parent_path().has_filename()) name = path.parent_path().filename().string();
  return name.empty() ? "model" : name;
}

Status report(const ConvertOptions& options, const ImportedModel& imported, const Bundle& bundle) {
  const InputContract& in = bundle.contract;
  std::error_code error;
  const uintmax_t bytes = fs::file_size(options.out, error);
  std::string text = fmt::format(
      "Wrote {} ({}): {} of signature {}, {} layers, {} parameters, {} golden vectors.\n", options.out,
      readable_size(error ? 0 : bytes), printable(bundle.name), printable(imported.signature),
      bundle.graph.nodes().size(), with_commas(bundle.variables.num_elements()), bundle.golden.size());
  text += fmt::format("Input: {} x {} x {}, scale {}{}, {}.\n", in.height, in.width, in.channels, in.scale,
                      imported.scale_told ? "" : " (the graph does not tell: --scale sets another)",
                      in.resize == ResizePolicy::kExact ? "images of that size only" : "others are resized");
  if (in.labels.empty()) text += "Classes are numbers: --labels names them.\n";
  return print(text + fmt::format("Next: nacre verify {0}\n      nacre predict {0} IMAGE...\n",
                                  shell_word(options.out)));
}

}  // namespace

Status convert_to_bundle(const Session& session, const ConvertOptions& options) {
  NACRE_ASSIGN_OR_RETURN(const ImportOptions importing, import_options(options));
  NACRE_RETURN_IF_ERROR(check_saved_model(options.in));
  NACRE_ASSIGN_OR_RETURN(ImportedModel imported, import_saved_model(options.in, importing, session.registry));
  NACRE_ASSIGN_OR_RETURN(imported.contract.labels, labels_of(options));
  auto bundle = make_prediction_bundle(model_name(options.in), imported.graph, std::move(imported.variables),
                                       imported.contract, session.registry);
  if (!bundle.ok()) return bundle.status().at(options.in);
  bundle->provenance = {{"nacre_version", std::string(nacre_version())},
                        {"imported_from", "SavedModel, signature " + imported.signature}};
  const ModelOptions computing = session.model_options(1, options.threads);
  bundle->golden = std::move(imported.golden);
  NACRE_RETURN_IF_ERROR(replay_golden_vectors(*bundle, session.registry, computing).status().at(options.in));
  NACRE_RETURN_IF_ERROR(add_golden_vectors(*bundle, session.registry, computing).at(options.in));
  NACRE_RETURN_IF_ERROR(make_parents(options.out));
  BundleWriteOptions writing;
  writing.overwrite = options.overwrite;
  NACRE_RETURN_IF_ERROR(write_bundle(options.out, *bundle, writing));
  return report(options, imported, *bundle);
}

}  // namespace nacre
