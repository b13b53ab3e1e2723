#include "cli/train_init.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>
#include <variant>

#include "cli/console.h"
#include "cli/name_map.h"
#include "cli/open_model.h"
#include "cli/variable_match.h"
#include "engine/finite.h"
#include "serialize/bundle_file.h"
#include "serialize/checkpoint_file.h"
#include "serialize/tensorflow/tf_checkpoint.h"

namespace nacre {
namespace {

/// What training can start from.
struct Source {
  std::string path;
  VariableStore variables;
  std::vector<std::string> labels;       ///< empty: the file does not say
  std::vector<std::string> passed_over;  ///< tensors that cannot be variables
  bool can_be_mapped = false;            ///< by --map
};

Result<Source> read_own(const std::string& path, FileKind kind) {
  Source source;
  source.path = path;
  if (kind == FileKind::kCheckpoint) {
    NACRE_ASSIGN_OR_RETURN(Checkpoint checkpoint, read_checkpoint(path));
    source.variables = std::move(checkpoint.variables);
    source.labels = std::move(checkpoint.contract.labels);
    return source;
  }
  // Of what is neither, this says what it is.
  NACRE_ASSIGN_OR_RETURN(Bundle bundle, read_bundle(path));
  source.variables = std::move(bundle.variables);
  source.labels = std::move(bundle.contract.labels);
  return source;
}

Result<Source> read_tensorflow(const BundlePath& path, const std::string& map, const Plan& plan) {
  NACRE_ASSIGN_OR_RETURN(const NameMap names, read_name_map(map));
  NACRE_RETURN_IF_ERROR(check_name_map(names, mappable(plan.variables()), map));
  NACRE_ASSIGN_OR_RETURN(TfCheckpoint checkpoint, read_tf_checkpoint(path, names));
  Source source;
  source.path = path.prefix;
  source.can_be_mapped = true;
  source.variables = std::move(checkpoint.variables);
  source.passed_over = std::move(checkpoint.passed_over);
  if (checkpoint.own.has_value()) source.labels = std::move(checkpoint.own->contract.labels);
  return source;
}

Result<Source> read_source(const std::string& file, const std::string& map, const Plan& plan) {
  const Result<std::string> path = resolve_model_file(file);
  FileKind kind = FileKind::kOther;
  if (path.ok()) {
    NACRE_ASSIGN_OR_RETURN(kind, detect_kind(*path));
  }
  if (kind == FileKind::kOther) {
    NACRE_ASSIGN_OR_RETURN(const auto found, find_tf_checkpoint(file));
    if (found.has_value()) return read_tensorflow(*found, map, plan);
  }
  if (!path.ok()) return path.status();
  if (!map.empty()) return Status(StatusCode::kUsage, "--map: " + *path + " is no TensorFlow checkpoint");
  return read_own(*path, kind);
}

/// The layers whose size is the number of classes.
std::set<std::string, std::less<>> class_layers(const ModelDescription& model) {
  std::set<std::string, std::less<>> names;
  for (const Node& node : model.nodes) {
    const bool sized = std::any_of(node.attributes.begin(), node.attributes.end(), [](const auto& attribute) {
      const auto* text = std::get_if<std::string>(&attribute.second);
      return text != nullptr && *text == "classes";
    });
    if (sized) names.insert(node.name);
  }
  return names;
}

/// What becomes of each variable.
struct Sorted {
  VariableMatch match;
  std::vector<std::string> other_classes;  ///< in none of its lists
};

Sorted sort_variables(const Source& source, const RunStart& start) {
  const auto heads = class_layers(start.setup.model);
  const bool other_classes = !source.labels.empty() && source.labels != start.setup.labels;
  Sorted sorted;
  VariableMatch& match = sorted.match;
  match = match_variables(source.variables, start.plan.variables(), /*with_slots=*/false);
  for (const PlannedVariable& variable : start.plan.variables()) {
    const Tensor* tensor = source.variables.find(variable.name);
    const bool head = heads.contains(variable.name.substr(0, variable.name.find('/')));
    if (tensor == nullptr || !head) continue;
    if (!other_classes && (!source.labels.empty() || tensor->shape() == variable.shape)) continue;
    std::erase(match.matching, variable.name);
    std::erase_if(match.other_shape, [&](const auto& other) { return other.name == variable.name; });
    sorted.other_classes.push_back(variable.name);
  }
  match.extra.insert(match.extra.end(), source.passed_over.begin(), source.passed_over.end());
  return sorted;
}

}  // namespace

Result<std::vector<std::string>> init_from(const std::string& file, const std::string& map,
                                           const RunStart& start, Checkpoint& checkpoint) {
  NACRE_ASSIGN_OR_RETURN(const Source source, read_source(file, map, start.plan));
  const Sorted sorted = sort_variables(source, start);
  const VariableMatch& match = sorted.match;
  const auto bad = [&](const std::string& reason) {
    return Status(StatusCode::kBadData, source.path + ": cannot start from it: " + reason);
  };
  if (!match.other_shape.empty()) {
    return bad(match.differences() + (source.can_be_mapped ? fmt::format(" ({})", kMapHint) : ""));
  }
  if (match.matching.empty()) {
    return bad(fmt::format("it has no variable of the network (it has {}; expected {})", listed(match.extra),
                           listed(match.missing)));
  }
  for (const std::string& name : match.matching) {
    const Tensor& tensor = *source.variables.find(name);
    if (!all_finite(tensor.size(), tensor.data())) {
      return Status(StatusCode::kDiverged,
                    fmt::format("{}: {} holds a value that is NaN or infinite", source.path, name));
    }
    *checkpoint.variables.find(name) = tensor.clone();
  }
  std::vector<std::string> notes{fmt::format("starting from {}: {} of {} variables taken", source.path,
                                             match.matching.size(), start.plan.variables().size())};
  const auto note = [&](const std::vector<std::string>& names, std::string_view reason) {
    if (!names.empty()) notes.push_back(fmt::format("{}: {}", reason, listed(names)));
  };
  note(sorted.other_classes, "started anew, for the classes are others");
  note(match.missing, "started anew, for the file lacks them");
  note(match.extra, "not used of the file");
  return notes;
}

}  // namespace nacre
