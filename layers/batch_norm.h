#pragma once

#include <cmath>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/op_def.h"

namespace nacre {

/// The attributes of BatchNorm. Names and defaults are Keras's.
struct BatchNormAttrs {
  double momentum = 0.99;
  double epsilon = 1e-3;
  bool center = true;
  bool scale = true;

  template <typename Visitor>
  void visit(Visitor& v) {
    v.field("momentum", momentum, 0.0, 1.0,
            "share of the moving mean and variance that a training step keeps; the rest is the batch's");
    v.field("epsilon", epsilon, 1e-12, 1.0, "added to the variance");
    v.field("center", center, "whether beta is added");
    v.field("scale", scale, "whether the result is multiplied by gamma");
  }
};

/// gamma, beta (as the attributes say), moving_mean and moving_variance; of node `node` of a fused chain.
std::vector<VariableSpec> batch_norm_variables(const BatchNormAttrs& attrs, int64_t channels, int node = 0);

/// The definition of `layer` with BatchNorm and perhaps `activation` (an op, or empty) behind it, as one
/// operator of inference. `formula` says what comes before the activation.
OpDef fused_batch_norm_op(const std::string& layer, const std::string& activation, const std::string& formula,
                          Result<std::unique_ptr<Operator>> (*create)(const OperatorRequest&));

/// OpDef::from_tensorflow of BatchNorm: FusedBatchNorm, what Keras makes of it, and any other scaling or
/// shifting of channels.
Result<std::optional<RecognizedLayer>> recognize_batch_norm(const NodeView& node);

/// One channel as y = x * scale + shift.
struct ChannelAffine {
  double scale;
  double shift;
};

/// The variables of one BatchNorm, by name; the first two are null where they are not used.
template <typename T>
struct BatchNormVariables {
  const T* gamma = nullptr;
  const T* beta = nullptr;
  const T* moving_mean = nullptr;
  const T* moving_variance = nullptr;

  BatchNormVariables(const BatchNormAttrs& attrs, std::span<const TensorView<const T>> variables) {
    size_t next = 0;
    if (attrs.scale) gamma = variables[next++].data;
    if (attrs.center) beta = variables[next++].data;
    moving_mean = variables[next++].data;
    moving_variance = variables[next].data;
  }

  /// Channel c normalised by `mean` and `variance`.
  [[nodiscard]] ChannelAffine affine(int64_t c, double mean, double variance, double epsilon) const {
    const double gain = gamma == nullptr ? 1.0 : static_cast<double>(gamma[c]);
    const double scale = gain / std::sqrt(variance + epsilon);
    return {scale, (beta == nullptr ? 0.0 : static_cast<double>(beta[c])) - mean * scale};
  }
  /// Channel c in inference.
  [[nodiscard]] ChannelAffine moving_affine(int64_t c, double epsilon) const {
    return affine(c, static_cast<double>(moving_mean[c]), static_cast<double>(moving_variance[c]), epsilon);
  }
  /// The same behind a layer that adds `bias` (null: none).
  [[nodiscard]] ChannelAffine moving_affine(int64_t c, double epsilon, const T* bias) const {
    ChannelAffine result = moving_affine(c, epsilon);
    if (bias != nullptr) result.shift += static_cast<double>(bias[c]) * result.scale;
    return result;
  }
};

}  // namespace nacre
