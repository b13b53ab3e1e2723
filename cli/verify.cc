#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "cli/command.h"
#include "cli/console.h"
#include "cli/open_model.h"
#include "cli/tensorflow_files.h"
#include "runtime/golden.h"
#include "runtime/prediction_bundle.h"
#include "serialize/finite_tensors.h"
#include "serialize/tensorflow/saved_model_import.h"
#include "serialize/tensorflow/saved_model_summary.h"
#include "serialize/tensorflow/tf_checkpoint.h"

namespace nacre {
namespace {

struct VerifyOptions {
  std::string file;
  int threads = 0;
  bool json = false;
  bool allow_nonfinite = false;
};

/// What else the file's kind does not say.
struct Verified {
  size_t tensors = 0;
  bool whole = false;  ///< a SHA-256 of all of it was right; false where another program wrote the file
  std::vector<GoldenReport> golden;
};

Status report(const VerifyOptions& options, const std::string& path, const std::string& kind,
              const Verified& found) {
  const auto& [tensors, whole, golden] = found;
  float worst = 0;
  for (const GoldenReport& vector : golden) worst = std::max(worst, vector.max_difference);
  if (options.json) {
    const nlohmann::ordered_json json = {{"file", path},
                                         {"kind", kind},
                                         {"tensors", tensors},
                                         {"sha256", whole},
                                         {"golden_vectors", golden.size()},
                                         {"golden_max_difference", worst},
                                         {"ok", true}};
    return print(json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
  }
  std::string text = fmt::format("{}: {}\n", printable(path), kind);
  text += fmt::format("  structure, checksums of {} tensors{}: right\n", tensors,
                      whole ? " and SHA-256 of the whole" : "");
  if (kind == "saved_model" && !whole && golden.empty()) {
    text += "  foreign: structure and checksums alone, there is no answer to compare\n";
  } else if (kind == "bundle" || kind == "saved_model") {
    text += golden.empty() ? "  no golden vectors to replay\n"
                           : fmt::format("  {} golden vectors replayed: largest difference {:.1e}\n",
                                         golden.size(), worst);
  }
  return print(text + "ok\n");
}

/// Every checksum there is, all of the network; and of what nacre wrote, every file and the recorded answers.
Status verify_saved_model(const Session& session, const VerifyOptions& options, const std::string& path) {
  NACRE_ASSIGN_OR_RETURN(const SavedModelSummary summary, summarize_saved_model(path));
  ImportOptions importing;
  importing.allow_nonfinite = options.allow_nonfinite;
  NACRE_ASSIGN_OR_RETURN(ImportedModel model, import_saved_model(path, importing, session.registry));
  NACRE_ASSIGN_OR_RETURN(model.contract.labels, labels_of_saved_model(path));
  auto bundle = make_prediction_bundle("saved_model", model.graph, std::move(model.variables), model.contract,
                                       session.registry);
  if (!bundle.ok()) return bundle.status().at(path);
  bundle->golden = std::move(model.golden);
  const ModelOptions computing = session.model_options(1, options.threads);
  const auto golden = replay_golden_vectors(*bundle, session.registry, computing);
  if (!golden.ok()) return golden.status().at(path);
  // Where nobody recorded answers, there are to be some.
  if (golden->empty() && !options.allow_nonfinite) {
    NACRE_RETURN_IF_ERROR(add_golden_vectors(*bundle, session.registry, computing).at(path));
  }
  return report(options, path, "saved_model", {summary.variables.size(), model.marked, *golden});
}

Status verify_tensorflow(const Session& session, const VerifyOptions& options, const TensorflowFile& file) {
  if (file.saved_model) return verify_saved_model(session, options, file.path);
  NACRE_ASSIGN_OR_RETURN(const auto tensors, summarize_tensor_bundle(file.bundle()));
  NACRE_ASSIGN_OR_RETURN(const TfCheckpoint checkpoint, read_tf_checkpoint(file.bundle(), {}));
  if (!options.allow_nonfinite) NACRE_RETURN_IF_ERROR(check_finite(checkpoint.variables).at(file.path));
  return report(options, file.path, "tf_checkpoint", {tensors.size(), false, {}});
}

Status run_verify(const Session& session, const VerifyOptions& options) {
  NACRE_ASSIGN_OR_RETURN(const auto foreign, find_tensorflow_file(options.file));
  if (foreign.has_value()) return verify_tensorflow(session, options, *foreign);
  OpenOptions opening;
  opening.read.depth = LoadDepth::kVerify;
  opening.read.allow_nonfinite = options.allow_nonfinite;
  NACRE_ASSIGN_OR_RETURN(const std::string path, resolve_model_file(options.file));
  NACRE_ASSIGN_OR_RETURN(const FileKind kind, detect_kind(path));
  if (kind == FileKind::kCheckpoint) {
    NACRE_ASSIGN_OR_RETURN(const Checkpoint checkpoint,
                           read_model_checkpoint(options.file, path, opening.read));
    return report(options, path, "checkpoint", {checkpoint.variables.size(), true, {}});
  }
  NACRE_ASSIGN_OR_RETURN(OpenedModel opened, open_model(session, options.file, opening));
  const auto golden =
      replay_golden_vectors(opened.model, session.registry, session.model_options(1, options.threads));
  if (!golden.ok()) return golden.status().at(path);
  return report(options, path, "bundle", {opened.model.variables.size(), true, *golden});
}

}  // namespace

void add_verify_command(CLI::App& app, Command& chosen) {
  auto options = std::make_shared<VerifyOptions>();
  CLI::App* command = app.add_subcommand("verify", "check a file, and replay its golden vectors");
  command
      ->add_option("FILE", options->file,
                   "bundle, checkpoint, run folder, SavedModel or TensorFlow checkpoint")
      ->required();
  command->add_flag("--allow-nonfinite", options->allow_nonfinite, "accept weights that are NaN or infinite");
  add_threads_option(*command, options->threads);
  add_json_option(*command, options->json);
  command->callback([options, &chosen] {
    chosen = [options](const Session& session) { return run_verify(session, *options); };
  });
}

}  // namespace nacre
