#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "cli/command.h"
#include "cli/console.h"
#include "cli/open_model.h"
#include "runtime/model.h"
#include "serialize/checkpoint_file.h"

namespace nacre {
namespace {

struct VerifyOptions {
  std::string file;
  int threads = 0;
  bool json = false;
  bool allow_nonfinite = false;
};

Status report(const VerifyOptions& options, const std::string& path, const std::string& kind, size_t tensors,
              const std::vector<GoldenReport>& golden) {
  float worst = 0;
  for (const GoldenReport& vector : golden) worst = std::max(worst, vector.max_difference);
  if (options.json) {
    const nlohmann::ordered_json json = {{"file", path},
                                         {"kind", kind},
                                         {"tensors", tensors},
                                         {"golden_vectors", golden.size()},
                                         {"golden_max_difference", worst},
                                         {"ok", true}};
    return print(json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
  }
  std::string text = fmt::format("{}: {}\n", printable(path), kind);
  text += fmt::format("  structure, checksums of {} tensors and SHA-256 of the whole: right\n", tensors);
  if (kind == "bundle") {
    text += golden.empty() ? "  no golden vectors to replay\n"
                           : fmt::format("  {} golden vectors replayed: largest difference {:.1e}\n",
                                         golden.size(), worst);
  }
  return print(text + "ok\n");
}

Status run_verify(const Session& session, const VerifyOptions& options) {
  OpenOptions opening;
  opening.read.depth = LoadDepth::kVerify;
  opening.read.allow_nonfinite = options.allow_nonfinite;
  NACRE_ASSIGN_OR_RETURN(const std::string path, resolve_model_file(options.file));
  NACRE_ASSIGN_OR_RETURN(const FileKind kind, detect_kind(path));
  if (kind == FileKind::kCheckpoint) {
    NACRE_ASSIGN_OR_RETURN(const Checkpoint checkpoint, read_checkpoint(path, opening.read));
    return report(options, path, "checkpoint", checkpoint.variables.size(), {});
  }
  NACRE_ASSIGN_OR_RETURN(OpenedModel opened, open_model(session, path, opening));
  const auto bundle = std::make_shared<const Bundle>(std::move(opened.model));
  const auto model = Model::make(bundle, session.registry, session.model_options(1, options.threads));
  if (!model.ok()) return model.status().at(path);
  const auto golden = model->replay_golden_vectors();
  if (!golden.ok()) return golden.status().at(path);
  return report(options, path, "bundle", bundle->variables.size(), *golden);
}

}  // namespace

void add_verify_command(CLI::App& app, Command& chosen) {
  auto options = std::make_shared<VerifyOptions>();
  CLI::App* command = app.add_subcommand("verify", "check a file, and replay a bundle's golden vectors");
  command->add_option("FILE", options->file, "bundle, checkpoint or run folder")->required();
  command->add_flag("--allow-nonfinite", options->allow_nonfinite, "accept weights that are NaN or infinite");
  add_threads_option(*command, options->threads);
  add_json_option(*command, options->json);
  command->callback([options, &chosen] {
    chosen = [options](const Session& session) { return run_verify(session, *options); };
  });
}

}  // namespace nacre
