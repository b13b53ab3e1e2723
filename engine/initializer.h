#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "engine/attributes.h"
#include "engine/tensor.h"

namespace nacre {

/// How a variable starts. Names and formulas are Keras's.
enum class InitializerKind : uint8_t {
  kZeros,
  kOnes,
  kTruncatedNormal,  ///< deviation `stddev`, truncated at two deviations
  kGlorotUniform,    ///< uniform in [-l, l), l = sqrt(6 / (fan_in + fan_out)) (Glorot, Bengio 2010)
  kGlorotNormal,     ///< truncated normal, deviation sqrt(2 / (fan_in + fan_out)) after truncation
  kHeUniform,        ///< uniform in [-l, l), l = sqrt(6 / fan_in)
  kHeNormal,         ///< truncated normal, deviation sqrt(2 / fan_in) after truncation (He et al. 2015)
};
std::span<const EnumName<InitializerKind>> enum_names(InitializerKind);

struct Initializer {
  InitializerKind kind = InitializerKind::kZeros;
  double stddev =
      0.1;  ///< kTruncatedNormal only: deviation before truncation, as TensorFlow's truncated_normal
  int64_t fan_in = 1;   ///< inputs that one output sums over
  int64_t fan_out = 1;  ///< outputs that one input feeds
};

/// Fills `out` by `initializer`. Each element depends only on seed, variable name and its own index, so
/// neither the order of variables nor the number of threads matters.
void initialize(const Initializer& initializer, uint64_t seed, std::string_view variable,
                TensorView<float> out);

}  // namespace nacre
