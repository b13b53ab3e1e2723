#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace nacre {

/// nacre's names of variables, slots or `global_step` -> other names in a TensorFlow checkpoint.
using NameMap = std::map<std::string, std::string, std::less<>>;

/// The tensor that says how many steps were done (int64).
inline constexpr std::string_view kGlobalStep = "global_step";
/// Adam's beta1 and beta2, each to the power of the steps done and one (float32).
inline constexpr std::string_view kBeta1Power = "beta1_power";
inline constexpr std::string_view kBeta2Power = "beta2_power";
/// A string with what a nacre checkpoint holds beside tensors, as a checkpoint file without any. TensorFlow's
/// Saver restores the names that it knows and leaves it alone.
inline constexpr std::string_view kNacreState = "nacre/state";
/// The string tensor that describes the objects of an object-based checkpoint.
inline constexpr std::string_view kObjectGraph = "_CHECKPOINTABLE_OBJECT_GRAPH";

/// How tensors are named on both sides. A variable has one name on both, but for those that a NameMap names.
/// Slots are named after their variable, by TensorFlow as its Saver does with the optimizers of
/// tf.compat.v1.train: `V/adam_m` is `V/Adam`, `V/adam_v` is `V/Adam_1`, `V/momentum` is `V/Momentum`. What
/// tf.train.Checkpoint and Keras append to names, `/.ATTRIBUTES/VARIABLE_VALUE`, is no part of a name here.
class TensorNames {
 public:
  using Exists = std::function<bool(std::string_view)>;

  /// `map`: no two of its names may be the other's.
  explicit TensorNames(const NameMap& map);

  /// TensorFlow's name of nacre's `name`; `exists` says which names nacre has.
  [[nodiscard]] std::string theirs(std::string_view name, const Exists& exists) const;
  /// nacre's name of TensorFlow's `name`, which may have the suffix; `exists` says which names the checkpoint
  /// has without it.
  [[nodiscard]] std::string ours(std::string_view name, const Exists& exists) const;

  /// Whether the map names TensorFlow's `name`.
  [[nodiscard]] bool is_mapped(std::string_view name) const { return to_ours_.contains(bare(name)); }

  /// `name` without the suffix.
  static std::string_view bare(std::string_view name);

 private:
  const NameMap& to_theirs_;
  std::map<std::string, std::string, std::less<>> to_ours_;
};

}  // namespace nacre
