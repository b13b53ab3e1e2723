#include <fmt/format.h>

#include <filesystem>
#include <memory>

#include "cli/command.h"
#include "cli/console.h"
#include "cli/export_bundle.h"
#include "cli/open_model.h"
#include "cli/output_file.h"
#include "cli/shell_word.h"
#include "serialize/bundle_file.h"

namespace nacre {
namespace {

namespace fs = std::filesystem;

struct ExportOptions {
  std::string file;
  std::string out;
  std::string model;
  bool overwrite = false;
  int threads = 1;
};

Status run_export(const Session& session, const ExportOptions& options) {
  if (!options.overwrite) NACRE_RETURN_IF_ERROR(check_not_there(options.out));
  OpenOptions open;
  open.model = options.model;
  NACRE_ASSIGN_OR_RETURN(OpenedModel opened, open_model(session, options.file, open));
  if (opened.kind != FileKind::kCheckpoint) {
    return {StatusCode::kUnsupported,
            options.file + ": is a bundle already; expected a checkpoint or a run folder"};
  }
  const Bundle& bundle = opened.model;
  NACRE_RETURN_IF_ERROR(complete_bundle(session, opened, options.threads));
  NACRE_RETURN_IF_ERROR(make_parents(options.out));
  BundleWriteOptions writing;
  writing.overwrite = options.overwrite;
  NACRE_RETURN_IF_ERROR(write_bundle(options.out, bundle, writing));
  std::error_code error;
  const uintmax_t bytes = fs::file_size(options.out, error);
  return print(
      fmt::format("Wrote {} ({}): {} at step {}, {} classes, {} parameters, {} golden vectors.\n"
                  "Next: nacre verify {}\n"
                  "      nacre predict {} IMAGE...\n",
                  options.out, readable_size(error ? 0 : bytes), bundle.name,
                  with_commas(static_cast<int64_t>(opened.state.step)), bundle.contract.labels.size(),
                  with_commas(bundle.variables.num_elements()), bundle.golden.size(), shell_word(options.out),
                  shell_word(options.out)));
}

}  // namespace

void add_export_command(CLI::App& app, Command& chosen) {
  auto options = std::make_shared<ExportOptions>();
  CLI::App* command = app.add_subcommand("export", "make a bundle for prediction from a checkpoint");
  command
      ->add_option("RUN-or-CHECKPOINT", options->file, "a run folder (its best checkpoint) or a checkpoint")
      ->required();
  command->add_option("--out", options->out, "bundle to write")->type_name("FILE")->required();
  command->add_option("--model", options->model, "the network, for a checkpoint outside its run folder")
      ->type_name("PRESET|FILE");
  command->add_flag("--overwrite", options->overwrite, "replace a file that is there");
  add_threads_option(*command, options->threads);
  command->callback([options, &chosen] {
    chosen = [options](const Session& session) { return run_export(session, *options); };
  });
}

}  // namespace nacre
