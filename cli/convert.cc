#include "cli/convert.h"

#include <fmt/format.h>

#include <array>
#include <memory>

#include "cli/command.h"

namespace nacre {
namespace {

struct Kind {
  std::string_view name;
  Status (*convert)(const Session&, const ConvertOptions&);
};

constexpr std::array<Kind, 4> kKinds{{
    {"saved_model", convert_to_saved_model},
    {"tf_checkpoint", convert_to_tf_checkpoint},
    {"checkpoint", convert_to_checkpoint},
    {"bundle", convert_to_bundle},
}};

std::string known_kinds() {
  std::string names;
  for (const Kind& kind : kKinds) names += (names.empty() ? "" : ", ") + std::string(kind.name);
  return names;
}

/// Of options that only a SavedModel's way in has.
Status check_import_options(const ConvertOptions& options) {
  if (options.signature.empty() && !options.scale.has_value()) return {};
  return {StatusCode::kUsage,
          fmt::format("convert --to {}: --signature and --scale have no meaning here", options.to)};
}

Status run_convert(const Session& session, const ConvertOptions& options) {
  for (const Kind& kind : kKinds) {
    if (kind.name != options.to) continue;
    if (kind.name != "bundle") NACRE_RETURN_IF_ERROR(check_import_options(options));
    return kind.convert(session, options);
  }
  return {StatusCode::kUsage,
          fmt::format("convert: --to {}: unknown kind; known are {}", options.to, known_kinds())};
}

}  // namespace

void add_convert_command(CLI::App& app, Command& chosen) {
  auto options = std::make_shared<ConvertOptions>();
  CLI::App* command = app.add_subcommand("convert", "turn a model into TensorFlow's files, or back");
  command->add_option("IN", options->in, "what to convert: a file, a run folder or a checkpoint's prefix")
      ->required();
  command->add_option("--to", options->to, "kind of the result: " + known_kinds())
      ->type_name("KIND")
      ->required();
  command->add_option("--out", options->out, "where to: a folder, a prefix or a file, as the kind is")
      ->type_name("OUT")
      ->required();
  command->add_option("--model", options->model, "the network, for a checkpoint outside its run folder")
      ->type_name("PRESET|FILE");
  command
      ->add_option("--labels", options->labels,
                   "checkpoint, bundle: class names, one a line, in the order of the outputs")
      ->type_name("FILE");
  command
      ->add_option("--map", options->map,
                   "tf_checkpoint, checkpoint: JSON object of nacre's names and TensorFlow's")
      ->type_name("FILE");
  command
      ->add_option("--compat", options->compat,
                   "saved_model: reference writes the one-image graph of the classic TF1 workflow")
      ->type_name("reference");
  command
      ->add_option("--default-signature", options->default_signature,
                   "saved_model: what serving_default takes, encoded images (default) or floats")
      ->type_name("image|float");
  command
      ->add_option("--input-size", options->input_size,
                   "bundle: height and width of the images, where the graph does not tell them")
      ->type_name("HxW");
  command
      ->add_option(
          "--signature", options->signature,
          "bundle: signature of the SavedModel (default: of nacre's own encoded_image, else serving_default)")
      ->type_name("NAME");
  command
      ->add_option(
          "--scale", options->scale,
          "bundle: what 8-bit levels are multiplied by for a signature that takes numbers (default: as "
          "the graph says, else 1/255)")
      ->type_name("FACTOR");
  command->add_flag("--overwrite", options->overwrite, "replace a result that is there");
  add_threads_option(*command, options->threads);
  command->callback([options, &chosen] {
    chosen = [options](const Session& session) { return run_convert(session, *options); };
  });
}

}  // namespace nacre
