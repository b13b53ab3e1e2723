#pragma once

#include <span>

#include "engine/attributes.h"
#include "engine/input_contract.h"

namespace nacre {

/// How model files write the choices of an input contract.
inline std::span<const EnumName<JpegDct>> names_of(JpegDct) {
  static constexpr EnumName<JpegDct> kNames[] = {{JpegDct::kAccurate, "accurate"}, {JpegDct::kFast, "fast"}};
  return kNames;
}
inline std::span<const EnumName<ExifPolicy>> names_of(ExifPolicy) {
  static constexpr EnumName<ExifPolicy> kNames[] = {{ExifPolicy::kIgnore, "ignore"},
                                                    {ExifPolicy::kApply, "apply"}};
  return kNames;
}
inline std::span<const EnumName<ResizePolicy>> names_of(ResizePolicy) {
  static constexpr EnumName<ResizePolicy> kNames[] = {{ResizePolicy::kBilinear, "bilinear"},
                                                      {ResizePolicy::kExact, "exact"}};
  return kNames;
}

}  // namespace nacre
