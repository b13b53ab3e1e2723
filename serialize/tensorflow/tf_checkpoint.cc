#include "serialize/tensorflow/tf_checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <set>
#include <span>
#include <system_error>
#include <utility>

#include "serialize/checkpoint_file.h"
#include "serialize/tensorflow/checkpoint_state.h"
#include "serialize/tensorflow/tensor_bundle_format.h"
#include "serialize/tensorflow/tensor_bundle_reader.h"
#include "serialize/tensorflow/tensor_bundle_writer.h"

namespace nacre {
namespace {

namespace fs = std::filesystem;

Status bad(std::string reason) {
  return Status(StatusCode::kBadData, std::move(reason));
}

/// beta to the power of `step` + 1 as TensorFlow's Adam has it: multiplied up in float32, and zero where
/// others would have denormals.
float power_after(double beta, uint64_t step) {
  const auto factor = static_cast<float>(beta);
  float power = factor;
  for (uint64_t i = 0; i < step && power != 0; ++i) {
    const float next = power * factor;
    if (next == power) break;
    power = next < std::numeric_limits<float>::min() ? 0.0F : next;
  }
  return power;
}

/// What of a checkpoint is no tensor, as the value of nacre/state.
Result<std::string> state_text(const Checkpoint& checkpoint) {
  Checkpoint bare;
  bare.state = checkpoint.state;
  bare.contract = checkpoint.contract;
  bare.recipe = checkpoint.recipe;
  bare.nacre_version = checkpoint.nacre_version;
  NACRE_ASSIGN_OR_RETURN(const std::vector<std::byte> bytes, checkpoint_bytes(bare));
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

Result<Checkpoint> parse_state(const std::string& text) {
  // Parsing wants aligned memory.
  BasicTensor<std::byte> memory(Shape{static_cast<int64_t>(text.size())});
  if (!text.empty()) std::memcpy(memory.data(), text.data(), text.size());
  NACRE_ASSIGN_OR_RETURN(Checkpoint state, parse_checkpoint({memory.data(), text.size()}, nullptr));
  if (state.variables.size() > 0) return Status(StatusCode::kCorrupt, "holds tensors; expected none");
  return state;
}

bool has_adam_slots(const VariableStore& variables) {
  return std::ranges::any_of(variables.tensors(), [&](const auto& tensor) {
    constexpr std::string_view kSlot = "/adam_m";
    const std::string_view name = tensor.first;
    return name.ends_with(kSlot) && variables.find(name.substr(0, name.size() - kSlot.size())) != nullptr;
  });
}

/// What the step is called in the file.
std::string step_name(const NameMap& map) {
  const auto mapped = map.find(kGlobalStep);
  return mapped == map.end() ? std::string(kGlobalStep) : mapped->second;
}

/// The store's tensors under TensorFlow's names. Every one of them must come back under its own.
Result<std::vector<BundleItem>> name_tensors(const VariableStore& variables, const NameMap& map) {
  const TensorNames names(map);
  std::vector<BundleItem> items;
  std::set<std::string, std::less<>> taken{std::string(kBeta1Power), std::string(kBeta2Power),
                                           std::string(kNacreState)};
  if (const std::string step = step_name(map); !taken.insert(step).second) {
    return bad(fmt::format("{}: another tensor is called {:?} in the checkpoint", kGlobalStep, step));
  }
  std::set<std::string, std::less<>> bare;
  for (const auto& [name, tensor] : variables.tensors()) {
    std::string theirs =
        names.theirs(name, [&](std::string_view other) { return variables.find(other) != nullptr; });
    if (!taken.insert(theirs).second) {
      return bad(fmt::format("{}: another tensor is called {:?} in the checkpoint", name, theirs));
    }
    bare.emplace(TensorNames::bare(theirs));
    items.push_back({std::move(theirs), tensor.view()});
  }
  size_t i = 0;
  for (const auto& [name, tensor] : variables.tensors()) {
    const std::string& theirs = items[i++].name;
    const std::string back = names.ours(theirs, [&](std::string_view other) { return bare.contains(other); });
    if (back != name) return bad(fmt::format("{}: as {:?} it would come back as {}", name, theirs, back));
  }
  return items;
}

/// Sorts what a bundle holds.
class Sorter {
 public:
  Sorter(const TensorBundle& bundle, const NameMap& map) : bundle_(bundle), map_(map), names_(map) {
    for (const auto& [name, tensor] : bundle_.tensors()) bare_.emplace(TensorNames::bare(name));
  }

  Result<TfCheckpoint> sort() {
    for (const auto& [name, tensor] : bundle_.tensors()) {
      const std::string ours =
          names_.ours(name, [&](std::string_view other) { return bare_.contains(other); });
      NACRE_RETURN_IF_ERROR(take(name, ours, tensor));
    }
    if (result_.own.has_value() && result_.step.has_value() && result_.own->state.step != *result_.step) {
      return bad(fmt::format("{} is {}, but {} says {}", kGlobalStep, *result_.step, kNacreState,
                             result_.own->state.step));
    }
    return std::move(result_);
  }

 private:
  Status take(const std::string& name, const std::string& ours, const BundleTensor& tensor) {
    const bool is_number = tensor.type == BundleType::kInt64 || tensor.type == BundleType::kInt32;
    const bool is_step = ours == kGlobalStep && (!map_.contains(ours) || names_.is_mapped(name));
    if (is_step && is_number && tensor.shape.rank() == 0) {
      NACRE_ASSIGN_OR_RETURN(const int64_t step, bundle_.integer(name));
      if (step < 0) return bad(fmt::format("{} is {}", name, step));
      result_.step = static_cast<uint64_t>(step);
      return {};
    }
    if (ours == kNacreState) {
      NACRE_ASSIGN_OR_RETURN(const std::string text, bundle_.text(name));
      auto own = parse_state(text);
      if (!own.ok()) return own.status().at(name);
      result_.own = std::move(own).value();
      return {};
    }
    if (ours == kBeta1Power || ours == kBeta2Power || ours == kObjectGraph) return {};
    if (tensor.type != BundleType::kFloat32) {
      result_.passed_over.push_back(fmt::format("{} ({})", name, type_name(tensor.type)));
      return {};
    }
    if (map_.contains(ours) && !names_.is_mapped(name)) {
      result_.passed_over.push_back(fmt::format("{} ({} is mapped to another)", name, ours));
      return {};
    }
    const auto [place, added] = result_.theirs.emplace(ours, name);
    if (!added) {
      return bad(fmt::format("both {:?} and {:?} would be {}: name one of them in a map", place->second, name,
                             ours));
    }
    NACRE_ASSIGN_OR_RETURN(Tensor values, bundle_.floats(name));
    return result_.variables.add(ours, std::move(values));
  }

  const TensorBundle& bundle_;
  const NameMap& map_;
  TensorNames names_;
  std::set<std::string, std::less<>> bare_;
  TfCheckpoint result_;
};

/// Names that are mapped to must be there.
Status check_mapped(const TensorBundle& bundle, const NameMap& names) {
  constexpr size_t kMostListed = 20;
  for (const auto& [ours, theirs] : names) {
    const std::string_view wanted = TensorNames::bare(theirs);
    const auto is_it = [&](const auto& tensor) { return TensorNames::bare(tensor.first) == wanted; };
    if (std::ranges::any_of(bundle.tensors(), is_it)) continue;
    std::string known;
    size_t listed = 0;
    for (const auto& [name, tensor] : bundle.tensors()) {
      if (listed++ == kMostListed) break;
      known += (known.empty() ? "" : ", ") + name;
    }
    if (bundle.tensors().size() > kMostListed) {
      known += fmt::format(" and {} more", bundle.tensors().size() - kMostListed);
    }
    return bad(fmt::format("has no tensor {:?}, which {} is mapped to; it has {}", theirs, ours, known));
  }
  return {};
}

}  // namespace

Status write_tf_checkpoint(const std::string& prefix, const Checkpoint& checkpoint,
                           const TfWriteOptions& options, FileSystem& file_system) {
  // What is wrong with the folder's state is said before anything is written.
  NACRE_ASSIGN_OR_RETURN(const CheckpointState state, state_with_checkpoint(prefix));
  auto named = name_tensors(checkpoint.variables, options.names);
  if (!named.ok()) return named.status().at(prefix);
  std::vector<BundleItem> items = std::move(named).value();
  const uint64_t step = checkpoint.state.step;
  if (step > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
    return {StatusCode::kLimit,
            fmt::format("{}: {} steps are more than {} can say", prefix, step, kGlobalStep)};
  }
  items.push_back({step_name(options.names), static_cast<int64_t>(step)});
  auto text = state_text(checkpoint);
  if (!text.ok()) return text.status().at(prefix);
  items.push_back({std::string(kNacreState), std::move(text).value()});
  const std::array<float, 2> powers{power_after(options.beta1, step), power_after(options.beta2, step)};
  if (has_adam_slots(checkpoint.variables)) {
    items.push_back({std::string(kBeta1Power), TensorView<const float>{&powers[0], Shape{}}});
    items.push_back({std::string(kBeta2Power), TensorView<const float>{&powers[1], Shape{}}});
  }
  NACRE_RETURN_IF_ERROR(write_tensor_bundle(prefix, std::move(items), options.overwrite, file_system));
  return write_checkpoint_state(fs::path(prefix).parent_path().string(), state, file_system);
}

Result<TfCheckpoint> read_tf_checkpoint(const BundlePath& path, const NameMap& names) {
  NACRE_ASSIGN_OR_RETURN(const TensorBundle bundle, TensorBundle::open(path));
  NACRE_RETURN_IF_ERROR(check_mapped(bundle, names).at(path.prefix));
  auto sorted = Sorter(bundle, names).sort();
  if (!sorted.ok()) return sorted.status().at(path.prefix);
  return sorted;
}

Result<std::optional<BundlePath>> find_tf_checkpoint(const std::string& path) {
  const auto is_there = [](const std::string& file) {
    std::error_code ignored;
    return fs::exists(fs::symlink_status(file, ignored));
  };
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) {
    if (!is_there((fs::path(path) / "checkpoint").string())) return std::optional<BundlePath>();
    NACRE_ASSIGN_OR_RETURN(std::string latest, latest_tf_checkpoint(path));
    return std::optional(BundlePath{std::move(latest), path});
  }
  constexpr std::string_view kIndex = ".index";
  if (is_there(bundle_index_path(path))) return std::optional(BundlePath{path});
  if (path.ends_with(kIndex) && is_there(path)) {
    return std::optional(BundlePath{path.substr(0, path.size() - kIndex.size())});
  }
  return std::optional<BundlePath>();
}

}  // namespace nacre
