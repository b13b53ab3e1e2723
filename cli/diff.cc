#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/console.h"
#include "cli/open_model.h"
#include "cli/tensorflow_files.h"
#include "serialize/bundle_file.h"
#include "serialize/tensorflow/saved_model_import.h"
#include "serialize/tensorflow/tf_checkpoint.h"

namespace nacre {
namespace {

struct DiffOptions {
  std::string a;
  std::string b;
  bool json = false;
};

/// Of a SavedModel whose network nacre can read, what `convert --to bundle` makes of its variables; else all
/// of them, by their keys.
Result<VariableStore> tensors_of_saved_model(const TensorflowFile& file, const Registry& registry) {
  ImportOptions importing;
  importing.allow_nonfinite = true;
  auto model = import_saved_model(file.path, importing, registry);
  if (model.ok()) return std::move(model->variables);
  // A damaged file is an error; what nacre merely lacks is not.
  const StatusCode code = model.status().code();
  if (code != StatusCode::kUnsupported && code != StatusCode::kBadData) return model.status();
  NACRE_ASSIGN_OR_RETURN(TfCheckpoint checkpoint, read_tf_checkpoint(file.bundle(), {}));
  return std::move(checkpoint.variables);
}

/// All tensors of a file, slots too. Those of TensorFlow's files under the names that nacre has for them.
Result<VariableStore> tensors_of(const std::string& file, const Registry& registry) {
  NACRE_ASSIGN_OR_RETURN(const auto foreign, find_tensorflow_file(file));
  if (foreign.has_value()) {
    if (foreign->saved_model) return tensors_of_saved_model(*foreign, registry);
    NACRE_ASSIGN_OR_RETURN(TfCheckpoint checkpoint, read_tf_checkpoint(foreign->bundle(), {}));
    return std::move(checkpoint.variables);
  }
  NACRE_ASSIGN_OR_RETURN(const std::string path, resolve_model_file(file, RunCheckpoint::kLatest));
  NACRE_ASSIGN_OR_RETURN(const FileKind kind, detect_kind(path));
  ReadOptions read;
  read.allow_nonfinite = true;
  if (kind == FileKind::kCheckpoint) {
    NACRE_ASSIGN_OR_RETURN(Checkpoint checkpoint, read_model_checkpoint(file, path, read));
    return std::move(checkpoint.variables);
  }
  NACRE_ASSIGN_OR_RETURN(Bundle bundle, read_bundle(path, read));
  return std::move(bundle.variables);
}

struct Difference {
  std::string name;
  std::string status;  ///< "identical", "different", "shape", "only_in_a", "only_in_b"
  std::string shape_a;
  std::string shape_b;
  int64_t elements = 0;    ///< whose bits differ
  double max_abs = 0;      ///< largest |a - b|
  double relative_l2 = 0;  ///< |a - b| / |a|
};

void compare_values(const Tensor& a, const Tensor& b, Difference& result) {
  double squares = 0;
  double norm = 0;
  const auto count = static_cast<size_t>(a.size());
  for (size_t i = 0; i < count; ++i) {
    const double x = static_cast<double>(a.data()[i]);
    const double delta = std::abs(x - static_cast<double>(b.data()[i]));
    if (std::bit_cast<uint32_t>(a.data()[i]) != std::bit_cast<uint32_t>(b.data()[i])) ++result.elements;
    // NaN stays, once there.
    if (!(delta <= result.max_abs) && !std::isnan(result.max_abs)) result.max_abs = delta;
    squares += delta * delta;
    norm += x * x;
  }
  if (result.elements > 0) {
    result.status = "different";
    result.relative_l2 = std::sqrt(squares) / std::sqrt(norm);
  } else {
    // Equal bits that are NaN or infinite have no difference.
    result.max_abs = 0;
  }
}

Difference compare(const std::string& name, const Tensor* a, const Tensor* b) {
  Difference result{name, "identical", "", "", 0, 0, 0};
  if (a != nullptr) result.shape_a = a->shape().to_string();
  if (b != nullptr) result.shape_b = b->shape().to_string();
  if (b == nullptr) {
    result.status = "only_in_a";
  } else if (a == nullptr) {
    result.status = "only_in_b";
  } else if (a->shape() != b->shape()) {
    result.status = "shape";
  } else {
    compare_values(*a, *b, result);
  }
  return result;
}

nlohmann::ordered_json finite_or_null(double value) {
  return std::isfinite(value) ? nlohmann::ordered_json(value) : nlohmann::ordered_json(nullptr);
}

Status print_json(const std::vector<Difference>& differences, bool identical) {
  nlohmann::ordered_json variables = nlohmann::ordered_json::array();
  for (const Difference& d : differences) {
    nlohmann::ordered_json entry = {{"name", d.name}, {"status", d.status}};
    if (!d.shape_a.empty()) entry["shape_a"] = d.shape_a;
    if (!d.shape_b.empty()) entry["shape_b"] = d.shape_b;
    if (d.status == "different") {
      entry["elements"] = d.elements;
      entry["max_abs"] = finite_or_null(d.max_abs);
      entry["relative_l2"] = finite_or_null(d.relative_l2);
    }
    variables.push_back(std::move(entry));
  }
  const nlohmann::ordered_json json = {{"identical", identical}, {"variables", std::move(variables)}};
  return print(json.dump(2) + "\n");
}

Status run_diff(const Session& session, const DiffOptions& options) {
  NACRE_ASSIGN_OR_RETURN(const VariableStore a, tensors_of(options.a, session.registry));
  NACRE_ASSIGN_OR_RETURN(const VariableStore b, tensors_of(options.b, session.registry));
  std::set<std::string> names;
  for (const auto& [name, tensor] : a.tensors()) names.insert(name);
  for (const auto& [name, tensor] : b.tensors()) names.insert(name);
  std::vector<Difference> differences;
  for (const std::string& name : names) differences.push_back(compare(name, a.find(name), b.find(name)));
  const auto same =
      std::ranges::count_if(differences, [](const Difference& d) { return d.status == "identical"; });
  const bool identical = static_cast<size_t>(same) == differences.size();
  if (options.json) return print_json(differences, identical);
  if (identical) return print(fmt::format("identical: {} variables\n", differences.size()));

  using enum Table::Align;
  Table table({{"variable", kLeft},
               {"differs in", kLeft},
               {"elements", kRight},
               {"max abs", kRight},
               {"relative L2", kRight}});
  for (const Difference& d : differences) {
    if (d.status == "different") {
      table.add_row({d.name, "values", with_commas(d.elements), fmt::format("{:.3e}", d.max_abs),
                     fmt::format("{:.3e}", d.relative_l2)});
    } else if (d.status == "shape") {
      table.add_row({d.name, fmt::format("shape: {} and {}", d.shape_a, d.shape_b)});
    } else if (d.status != "identical") {
      table.add_row({d.name, d.status == "only_in_a" ? "only in A" : "only in B"});
    }
  }
  return print(fmt::format("{}different: {} of {} variables\n", table.to_string(),
                           differences.size() - static_cast<size_t>(same), differences.size()));
}

}  // namespace

void add_diff_command(CLI::App& app, Command& chosen) {
  auto options = std::make_shared<DiffOptions>();
  CLI::App* command = app.add_subcommand("diff", "tell which variables of two files differ");
  command
      ->add_option(
          "A", options->a,
          "bundle, checkpoint, run folder (its latest checkpoint), SavedModel or TensorFlow checkpoint")
      ->required();
  command->add_option("B", options->b, "what to compare it with")->required();
  add_json_option(*command, options->json);
  auto threads = std::make_shared<int>(0);
  add_threads_option(*command, *threads);
  command->callback([options, threads, &chosen] {
    chosen = [options](const Session& session) { return run_diff(session, *options); };
  });
}

}  // namespace nacre
