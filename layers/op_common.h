#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/attributes.h"
#include "engine/initializer.h"
#include "engine/op_def.h"
#include "engine/parallel.h"
#include "engine/shape.h"
#include "engine/status.h"

namespace nacre {

/// Chunks of images whose partial gradients are kept apart: bounds both threads and memory.
inline constexpr int64_t kImageChunks = 16;

/// What a layer applies to its sums.
enum class Activation : uint8_t { kLinear, kRelu };
std::span<const EnumName<Activation>> enum_names(Activation);

/// The attributes of every layer that has a kernel and a bias. Names and defaults are Keras's; the `stddev`s
/// are for "truncated_normal" (RandomNormal and TruncatedNormal have 0.05 in Keras).
struct WeightAttrs {
  Activation activation = Activation::kLinear;
  bool use_bias = true;
  InitializerKind kernel_initializer = InitializerKind::kGlorotUniform;
  InitializerKind bias_initializer = InitializerKind::kZeros;
  double kernel_stddev = 0.05;
  double bias_stddev = 0.05;

  template <typename Visitor>
  void visit_weights(Visitor& v) {
    v.field("activation", activation,
            "applied to the sums; [model files](cli.md#model-files) may name others");
    v.field("use_bias", use_bias, "whether a bias is added to the sums");
    v.field("kernel_initializer", kernel_initializer, "how the kernel starts");
    v.field("bias_initializer", bias_initializer, "how the bias starts");
    v.field("kernel_stddev", kernel_stddev, 0.0, 1000.0,
            "deviation of the kernel's truncated_normal, before truncation");
    v.field("bias_stddev", bias_stddev, 0.0, 1000.0,
            "deviation of the bias's truncated_normal, before truncation");
  }
};

/// `kernel` of that shape and, when used, `bias` [outputs].
std::vector<VariableSpec> weight_variables(const WeightAttrs& attrs, const Shape& kernel, int64_t outputs,
                                           int64_t fan_in, int64_t fan_out);

/// OpDef::normalize for attribute struct A.
template <typename A>
Result<AttrMap> normalize_attributes(const AttrMap& attributes) {
  NACRE_ASSIGN_OR_RETURN(const A parsed, parse_attributes<A>(attributes));
  return write_attributes(parsed);
}

/// The attributes of an op that has none.
struct NoAttrs {
  template <typename Visitor>
  void visit(Visitor& /*v*/) {}
};

/// kBadData unless `shape` is [N, H, W, C] with no empty extent.
Status check_image_input(const Shape& shape);
/// kBadData unless `shape` is [N, ..., C] with no empty extent.
Status check_channels_input(const Shape& shape);
/// kBadData unless `shape` has a batch extent and no empty extent.
Status check_batch_input(const Shape& shape);

}  // namespace nacre
