#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <optional>
#include <utility>
#include <vector>

#include "cli/command.h"
#include "cli/console.h"
#include "cli/convert.h"
#include "cli/data_source.h"
#include "cli/name_map.h"
#include "cli/open_model.h"
#include "cli/output_file.h"
#include "cli/shell_word.h"
#include "cli/variable_match.h"
#include "serialize/bundle_file.h"
#include "serialize/checkpoint_file.h"
#include "serialize/finite_tensors.h"
#include "serialize/tensorflow/tf_checkpoint.h"
#include "train/optimizer.h"

namespace nacre {
namespace {

namespace fs = std::filesystem;

/// Refuses options of other kinds of output.
Status refuse(const ConvertOptions& options, std::initializer_list<std::pair<std::string_view, bool>> given) {
  for (const auto& [name, is_given] : given) {
    if (!is_given) continue;
    return {StatusCode::kUsage, fmt::format("convert --to {}: --{} has no meaning here", options.to, name)};
  }
  return {};
}

/// "14 variables, 28 optimizer slots, step 1,200"
std::string described(const Checkpoint& checkpoint) {
  const auto& tensors = checkpoint.variables.tensors();
  const auto slots = std::ranges::count_if(
      tensors, [&](const auto& tensor) { return checkpoint.variables.is_slot(tensor.first); });
  return fmt::format("{}, {}, step {}", counted(static_cast<int64_t>(tensors.size()) - slots, "variable"),
                     counted(slots, "optimizer slot"),
                     with_commas(static_cast<int64_t>(checkpoint.state.step)));
}

// To TensorFlow.

/// What a bundle gives: its variables, and where they come from.
Checkpoint as_checkpoint(Bundle bundle) {
  Checkpoint checkpoint;
  checkpoint.variables = std::move(bundle.variables);
  checkpoint.contract = std::move(bundle.contract);
  checkpoint.recipe = "{}";
  checkpoint.nacre_version = nacre_version();
  const std::string& step = bundle.provenance["step"];
  std::from_chars(step.data(), step.data() + step.size(), checkpoint.state.step);
  return checkpoint;
}

/// A checkpoint, a run's latest one, or what a bundle gives.
Result<Checkpoint> read_any(const std::string& in) {
  NACRE_ASSIGN_OR_RETURN(const std::string path, resolve_model_file(in, RunCheckpoint::kLatest));
  NACRE_ASSIGN_OR_RETURN(const FileKind kind, detect_kind(path));
  if (kind == FileKind::kCheckpoint) return read_model_checkpoint(in, path);
  // Of what is neither, this says what it is.
  NACRE_ASSIGN_OR_RETURN(Bundle bundle, read_bundle(path));
  return as_checkpoint(std::move(bundle));
}

// From TensorFlow.

/// What the other side of a conversion is, and what is known of the network.
struct Incoming {
  std::string prefix;
  TfCheckpoint source;
  std::optional<ModelDescription> model;
  std::vector<std::string> labels;  ///< of --labels
};

Status check_same_input(const InputContract& found, const InputContract& expected,
                        const std::string& prefix) {
  if (found.height == expected.height && found.width == expected.width &&
      found.channels == expected.channels) {
    return {};
  }
  return {StatusCode::kBadData,
          fmt::format("{}: takes images of {}x{}x{}, the network of {}x{}x{}", prefix, found.height,
                      found.width, found.channels, expected.height, expected.width, expected.channels)};
}

/// All of the checkpoint but its variables: as nacre/state has it, else as the options say.
Result<Checkpoint> describe(Incoming& incoming) {
  Checkpoint checkpoint;
  if (incoming.source.own.has_value()) {
    checkpoint = std::move(*incoming.source.own);
    const size_t classes = checkpoint.contract.labels.size();
    const bool known = classes != 0 && !incoming.model.has_value();
    if (known && !incoming.labels.empty() && classes != incoming.labels.size()) {
      return Status(StatusCode::kBadData, fmt::format("{}: has {} classes; --labels names {}",
                                                      incoming.prefix, classes, incoming.labels.size()));
    }
    if (incoming.model.has_value()) {
      NACRE_RETURN_IF_ERROR(check_same_input(checkpoint.contract, incoming.model->input, incoming.prefix));
    }
  } else if (incoming.model.has_value()) {
    checkpoint.contract = incoming.model->input;
    checkpoint.recipe = incoming.model->recipe;
    checkpoint.nacre_version = nacre_version();
    checkpoint.state.step = incoming.source.step.value_or(0);
  } else {
    return Status(StatusCode::kUsage,
                  incoming.prefix + ": does not say what network it is of: give --model and --labels");
  }
  if (!incoming.labels.empty()) checkpoint.contract.labels = incoming.labels;
  if (checkpoint.contract.labels.empty()) {
    return Status(StatusCode::kUsage, incoming.prefix + ": does not name its classes: give --labels");
  }
  return checkpoint;
}

/// The variables that the network has.
Result<std::vector<PlannedVariable>> planned_variables(const Session& session, const Incoming& incoming,
                                                       const InputContract& contract) {
  NACRE_ASSIGN_OR_RETURN(
      const Graph graph,
      build_graph(*incoming.model, static_cast<int64_t>(contract.labels.size()), session.registry));
  NACRE_ASSIGN_OR_RETURN(
      const Plan plan,
      Plan::make(graph, session.registry, Shape{contract.height, contract.width, contract.channels},
                 session.plan_options(Mode::kTraining, 1, 1)));
  return plan.variables();
}

/// Fills in the variables of `checkpoint`: the network's and their slots, or all when no network is given.
Status fill(const Session& session, const ConvertOptions& options, const NameMap& map, Incoming& incoming,
            Checkpoint& checkpoint) {
  VariableStore& store = incoming.source.variables;
  if (!incoming.model.has_value()) {
    checkpoint.variables = std::move(store);
    return {};
  }
  const auto variables = planned_variables(session, incoming, checkpoint.contract);
  if (!variables.ok()) return variables.status().at(options.model);
  NACRE_RETURN_IF_ERROR(check_name_map(map, mappable(*variables), options.map));
  VariableMatch match = match_variables(store, *variables, /*with_slots=*/true);
  if (!match.missing.empty() || !match.other_shape.empty()) {
    const std::vector<std::string>& more = incoming.source.passed_over;
    match.extra.insert(match.extra.end(), more.begin(), more.end());
    return {StatusCode::kBadData, fmt::format("{}: {} ({})", incoming.prefix, match.differences(), kMapHint)};
  }
  for (const auto* names : {&match.matching, &match.slots}) {
    for (const std::string& name : *names)
      NACRE_RETURN_IF_ERROR(checkpoint.variables.add(name, std::move(*store.find(name))));
  }
  if (!match.extra.empty()) print_message("not used of the file: " + listed(match.extra));
  return {};
}

Result<BundlePath> required_bundle(const std::string& in) {
  NACRE_ASSIGN_OR_RETURN(std::optional<BundlePath> found, find_tf_checkpoint(in));
  if (found.has_value()) return std::move(*found);
  // What is there is called by its name.
  NACRE_ASSIGN_OR_RETURN(const std::string path, resolve_model_file(in));
  NACRE_ASSIGN_OR_RETURN(const FileKind kind, detect_kind(path));
  const std::string what = kind == FileKind::kCheckpoint ? "a nacre checkpoint"
                           : kind == FileKind::kBundle   ? "a nacre bundle"
                                                         : "no TensorFlow checkpoint";
  return Status(
      StatusCode::kUnsupported,
      fmt::format("{}: is {}; expected the prefix of a TensorFlow checkpoint, its .index file, or a folder "
                  "with a file checkpoint",
                  path, what));
}

}  // namespace

Status convert_to_tf_checkpoint(const Session& /*session*/, const ConvertOptions& options) {
  NACRE_RETURN_IF_ERROR(refuse(options, {{"model", !options.model.empty()},
                                         {"labels", !options.labels.empty()},
                                         {"input-size", !options.input_size.empty()},
                                         {"compat", !options.compat.empty()},
                                         {"default-signature", !options.default_signature.empty()}}));
  if (!fs::path(options.out).has_filename()) {
    return {StatusCode::kUsage, "--out: expected a prefix such as FOLDER/model.ckpt, found " + options.out};
  }
  NACRE_ASSIGN_OR_RETURN(const Checkpoint checkpoint, read_any(options.in));
  TfWriteOptions writing;
  NACRE_ASSIGN_OR_RETURN(writing.names, read_name_map(options.map));
  NACRE_RETURN_IF_ERROR(check_name_map(writing.names, mappable(checkpoint.variables), options.map));
  const OptimizerOptions adam;
  writing.beta1 = adam.beta1;
  writing.beta2 = adam.beta2;
  writing.overwrite = options.overwrite;
  NACRE_RETURN_IF_ERROR(make_parents(options.out));
  NACRE_RETURN_IF_ERROR(write_tf_checkpoint(options.out, checkpoint, writing));
  return print(
      fmt::format("Wrote {0}.index and {0}.data-00000-of-00001: {1}.\n"
                  "Next: tf.train.load_checkpoint(\"{0}\")\n",
                  options.out, described(checkpoint)));
}

Status convert_to_checkpoint(const Session& session, const ConvertOptions& options) {
  NACRE_RETURN_IF_ERROR(refuse(options, {{"input-size", !options.input_size.empty()},
                                         {"compat", !options.compat.empty()},
                                         {"default-signature", !options.default_signature.empty()}}));
  if (!options.map.empty() && options.model.empty()) {
    return {StatusCode::kUsage,
            "convert --to checkpoint: --map needs --model, which says what names the network has"};
  }
  Incoming incoming;
  NACRE_ASSIGN_OR_RETURN(const BundlePath bundle, required_bundle(options.in));
  incoming.prefix = bundle.prefix;
  if (!options.model.empty()) {
    NACRE_ASSIGN_OR_RETURN(incoming.model, load_model(options.model, session.registry));
  }
  if (!options.labels.empty()) {
    NACRE_ASSIGN_OR_RETURN(incoming.labels, read_labels(options.labels));
  }
  NACRE_ASSIGN_OR_RETURN(const NameMap map, read_name_map(options.map));
  NACRE_ASSIGN_OR_RETURN(incoming.source, read_tf_checkpoint(bundle, map));
  NACRE_ASSIGN_OR_RETURN(Checkpoint checkpoint, describe(incoming));
  NACRE_RETURN_IF_ERROR(fill(session, options, map, incoming, checkpoint));
  NACRE_RETURN_IF_ERROR(check_finite(checkpoint.variables).at(incoming.prefix));
  const std::vector<std::string>& passed_over = incoming.source.passed_over;
  if (!passed_over.empty()) print_message("passed over in the file: " + listed(passed_over));
  if (!incoming.source.step.has_value()) {
    print_message(
        fmt::format("the file has no {}: the checkpoint says step {}", kGlobalStep, checkpoint.state.step));
  }
  NACRE_RETURN_IF_ERROR(make_parents(options.out));
  NACRE_RETURN_IF_ERROR(write_checkpoint(options.out, checkpoint, options.overwrite));
  return print(fmt::format(
      "Wrote {}: {}, {}.\n"
      "Next: nacre export {} --model {} --out FILE\n",
      options.out, described(checkpoint),
      counted(static_cast<int64_t>(checkpoint.contract.labels.size()), "class", "classes"),
      shell_word(options.out), options.model.empty() ? "PRESET|FILE" : shell_word(options.model)));
}

}  // namespace nacre
