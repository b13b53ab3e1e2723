#include <optional>
#include <utility>
#include <vector>

#include "layers/batch_norm.h"
#include "layers/tensorflow_match.h"

namespace nacre {
namespace {

// A variance of 1 and an epsilon that is lost beside it: what is left of the formula is x * gamma + beta.
constexpr double kNoEpsilon = 1e-12;
constexpr float kTensorFlowsEpsilon = 1e-4F;

bool is_sum(const NodeView& node) {
  return node.op() == "AddV2" || node.op() == "Add";
}

/// The four variables, as far as they are known.
struct Parts {
  std::optional<FoldedTensor> gamma;
  std::optional<FoldedTensor> beta;
  std::optional<FoldedTensor> mean;
  std::optional<FoldedTensor> variance;
  double epsilon = kNoEpsilon;
};

/// The layer with these; gamma and beta that change nothing are left out.
void set_parts(RecognizedLayer& layer, Parts parts) {
  BatchNormAttrs attrs;
  attrs.epsilon = parts.epsilon;
  attrs.scale = parts.gamma.has_value() && !is_filled(*parts.gamma, 1.0F);
  attrs.center = parts.beta.has_value() && !is_filled(*parts.beta, 0.0F);
  if (attrs.scale) layer.variables["gamma"] = *std::move(parts.gamma);
  if (attrs.center) layer.variables["beta"] = *std::move(parts.beta);
  layer.variables["moving_mean"] = *std::move(parts.mean);
  layer.variables["moving_variance"] = *std::move(parts.variance);
  layer.attributes = write_attributes(attrs);
}

Recognized fused(const NodeView& node) {
  if (node.inputs() < 5 || !node.is_activation(0)) return std::optional<RecognizedLayer>();
  NACRE_RETURN_IF_ERROR(check_layout(node));
  NACRE_ASSIGN_OR_RETURN(const bool training, bool_attribute(node, "is_training", true));
  if (training) {
    return node_error(node, StatusCode::kUnsupported,
                      "expected averages of training, found a normalization by each batch's own statistics");
  }
  Parts parts;
  for (size_t i = 1; i < 5; ++i) {
    const FoldedTensor* value = float_input(node, i);
    if (value == nullptr || value->shape.rank() != 1) return std::optional<RecognizedLayer>();
  }
  parts.gamma = *node.constant(1);
  parts.beta = *node.constant(2);
  parts.mean = *node.constant(3);
  parts.variance = *node.constant(4);
  NACRE_ASSIGN_OR_RETURN(parts.epsilon, decimal_attribute(node, "epsilon", kTensorFlowsEpsilon));
  RecognizedLayer layer = begin_layer(node, 0);
  set_parts(layer, std::move(parts));
  return std::optional(std::move(layer));
}

/// The other input of `node`, of two, than `one`; null when `one` is none of them.
const NodeView* other_input(const NodeView& node, const NodeView& one) {
  if (node.inputs() != 2) return nullptr;
  if (&node.input(0) == &one) return &node.input(1);
  return &node.input(1) == &one ? &node.input(0) : nullptr;
}

const FoldedTensor* input_beside(const NodeView& node, const NodeView& one) {
  if (other_input(node, one) == nullptr) return nullptr;
  return float_input(node, &node.input(0) == &one ? 1 : 0);
}

/// scale = Rsqrt(variance + epsilon) [* gamma]: fills these three. Returns false for other nodes.
bool read_scale(const NodeView& scale, Parts& parts) {
  const NodeView* root = &scale;
  if (scale.op() == "Mul" && scale.inputs() == 2) {
    const size_t at = scale.input(0).op() == "Rsqrt" ? 0 : 1;
    root = &scale.input(at);
    const FoldedTensor* gamma = float_input(scale, 1 - at);
    if (gamma == nullptr) return false;
    parts.gamma = *gamma;
  }
  if (root->op() != "Rsqrt" || root->inputs() != 1) return false;
  const NodeView& raised = root->input(0);
  if (!is_sum(raised) || raised.inputs() != 2) return false;
  const std::optional<float> epsilon = scalar_input(raised, 1);
  const FoldedTensor* variance = float_input(raised, 0);
  if (!epsilon.has_value() || variance == nullptr || !(*epsilon > 0.0F)) return false;
  parts.variance = *variance;
  parts.epsilon = as_decimal(*epsilon);
  return true;
}

/// middle = mean * scale.
bool read_mean(const NodeView& middle, const NodeView& scale, Parts& parts) {
  if (middle.op() != "Mul") return false;
  const FoldedTensor* mean = input_beside(middle, scale);
  if (mean == nullptr) return false;
  parts.mean = *mean;
  return true;
}

/// What is added to x * scale, and where: beta - mean * scale, or the negative of mean * scale.
bool read_shift(const NodeView& last, const NodeView& scaled, const NodeView& scale, Parts& parts) {
  const NodeView* shift = other_input(last, scaled);
  if (shift == nullptr) return false;
  if (last.op() == "Sub") return &last.input(0) == &scaled && read_mean(*shift, scale, parts);
  if (!is_sum(last)) return false;
  if (shift->op() == "Sub" && shift->inputs() == 2) {
    const FoldedTensor* beta = float_input(*shift, 0);
    if (beta == nullptr) return false;
    parts.beta = *beta;
    return read_mean(shift->input(1), scale, parts);
  }
  // Keras without beta: (-mean) * scale.
  if (shift->op() != "Mul") return false;
  const NodeView* negative = other_input(*shift, scale);
  if (negative == nullptr || negative->op() != "Neg" || negative->inputs() != 1) return false;
  const FoldedTensor* mean = float_input(*negative, 0);
  if (mean == nullptr) return false;
  parts.mean = *mean;
  return true;
}

/// tf.nn.batch_normalization: x * scale + (beta - mean * scale), from the multiplication on.
std::optional<RecognizedLayer> decomposed(const NodeView& scaled) {
  const std::optional<size_t> x = activation_of_two(scaled);
  const NodeView* last = scaled.only_reader();
  if (scaled.op() != "Mul" || !x.has_value() || last == nullptr) return std::nullopt;
  const NodeView& scale = scaled.input(1 - *x);
  Parts parts;
  if (!read_scale(scale, parts) || !read_shift(*last, scaled, scale, parts)) return std::nullopt;
  const Shape* shape = scaled.input(*x).shape();
  if (shape == nullptr || shape->rank() < 1) return std::nullopt;
  const int64_t channels = (*shape)[shape->rank() - 1];
  for (std::optional<FoldedTensor>* part : {&parts.gamma, &parts.beta, &parts.mean, &parts.variance}) {
    if (!part->has_value()) continue;
    *part = per_channel(**part, channels);
    if (!part->has_value()) return std::nullopt;
  }
  RecognizedLayer layer = begin_layer(scaled, *x);
  extend_layer(layer, *last);
  set_parts(layer, std::move(parts));
  return layer;
}

/// per_channel, with every element changed: only those of the channels are touched, whatever `tensor` is.
std::optional<FoldedTensor> changed_per_channel(const FoldedTensor& tensor, int64_t channels,
                                                float (*change)(float)) {
  const std::optional<FoldedTensor> chosen = per_channel(tensor, channels);
  if (!chosen.has_value()) return std::nullopt;
  std::vector<float> values(chosen->values().begin(), chosen->values().end());
  for (float& value : values) value = change(value);
  return make_folded(chosen->shape, std::move(values));
}

/// What `node` adds to its activation, per channel; nothing for other nodes.
std::optional<FoldedTensor> added_by(const NodeView& node, int64_t channels) {
  const std::optional<size_t> x = activation_of_two(node);
  if (!x.has_value()) return std::nullopt;
  const FoldedTensor& added = *node.constant(1 - *x);
  if (node.op() == "Sub" && *x == 0) return changed_per_channel(added, channels, [](float v) { return -v; });
  if (!is_sum(node) && node.op() != "BiasAdd") return std::nullopt;
  return per_channel(added, channels);
}

/// Any x * scale + shift with a scale and a shift for each channel, or one of both; and shift - x.
std::optional<RecognizedLayer> affine(const NodeView& node) {
  const std::optional<size_t> x = activation_of_two(node);
  const Shape* shape = x.has_value() ? node.input(*x).shape() : nullptr;
  if (shape == nullptr || shape->rank() < 2) return std::nullopt;
  const int64_t channels = (*shape)[shape->rank() - 1];
  RecognizedLayer layer = begin_layer(node, *x);
  Parts parts;
  const FoldedTensor& other = *node.constant(1 - *x);
  if (node.op() == "Mul" || (node.op() == "RealDiv" && *x == 0)) {
    parts.gamma = node.op() == "Mul" ? per_channel(other, channels)
                                     : changed_per_channel(other, channels, [](float v) { return 1.0F / v; });
    if (!parts.gamma.has_value()) return std::nullopt;
    if (const NodeView* next = node.only_reader(); next != nullptr) {
      parts.beta = added_by(*next, channels);
      if (parts.beta.has_value()) extend_layer(layer, *next);
    }
  } else if (node.op() == "Sub" && *x == 1) {
    parts.beta = per_channel(other, channels);
    if (!parts.beta.has_value()) return std::nullopt;
    parts.gamma = filled(Shape{channels}, -1.0F);
  } else {
    parts.beta = added_by(node, channels);
    if (!parts.beta.has_value()) return std::nullopt;
  }
  parts.mean = filled(Shape{channels}, 0.0F);
  parts.variance = filled(Shape{channels}, 1.0F);
  set_parts(layer, std::move(parts));
  layer.identity = !layer.variables.contains("gamma") && !layer.variables.contains("beta");
  return layer;
}

}  // namespace

Recognized recognize_batch_norm(const NodeView& node) {
  if (node.op().starts_with("FusedBatchNorm")) return fused(node);
  std::optional<RecognizedLayer> layer = decomposed(node);
  return layer.has_value() ? layer : affine(node);
}

}  // namespace nacre
