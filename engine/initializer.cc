#include "engine/initializer.h"

#include <array>
#include <cmath>

#include "engine/random.h"

namespace nacre {
namespace {

// Deviation of a standard normal truncated at two deviations. Keras divides by it, so that the values drawn
// have the deviation asked for.
constexpr double kTruncatedDeviation = 0.87962566103423978;

}  // namespace

std::span<const EnumName<InitializerKind>> enum_names(InitializerKind) {
  static constexpr std::array<EnumName<InitializerKind>, 7> kNames{{
      {InitializerKind::kZeros, "zeros"},
      {InitializerKind::kOnes, "ones"},
      {InitializerKind::kTruncatedNormal, "truncated_normal"},
      {InitializerKind::kGlorotUniform, "glorot_uniform"},
      {InitializerKind::kGlorotNormal, "glorot_normal"},
      {InitializerKind::kHeUniform, "he_uniform"},
      {InitializerKind::kHeNormal, "he_normal"},
  }};
  return kNames;
}

void initialize(const Initializer& initializer, uint64_t seed, std::string_view variable,
                TensorView<float> out) {
  static constexpr std::string_view kPurpose = "initialize";
  const RandomStream random(seed, hash_name(kPurpose), hash_name(variable));
  const auto fan_in = static_cast<double>(initializer.fan_in);
  const auto fans = static_cast<double>(initializer.fan_in + initializer.fan_out);
  const auto count = static_cast<uint64_t>(out.size());
  const auto fill = [&](float value) {
    for (uint64_t i = 0; i < count; ++i) out.data[i] = value;
  };
  const auto uniform = [&](double limit) {
    for (uint64_t i = 0; i < count; ++i) {
      out.data[i] = static_cast<float>((2.0 * static_cast<double>(random.uniform(i)) - 1.0) * limit);
    }
  };
  const auto normal = [&](double deviation) {
    for (uint64_t i = 0; i < count; ++i) {
      out.data[i] = static_cast<float>(static_cast<double>(random.truncated_normal(i)) * deviation);
    }
  };
  switch (initializer.kind) {
    case InitializerKind::kZeros:
      return fill(0.0F);
    case InitializerKind::kOnes:
      return fill(1.0F);
    case InitializerKind::kTruncatedNormal:
      return normal(initializer.stddev);
    case InitializerKind::kGlorotUniform:
      return uniform(std::sqrt(6.0 / fans));
    case InitializerKind::kGlorotNormal:
      return normal(std::sqrt(2.0 / fans) / kTruncatedDeviation);
    case InitializerKind::kHeUniform:
      return uniform(std::sqrt(6.0 / fan_in));
    case InitializerKind::kHeNormal:
      return normal(std::sqrt(2.0 / fan_in) / kTruncatedDeviation);
  }
}

}  // namespace nacre
