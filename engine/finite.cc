#include "engine/finite.h"

#include <bit>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/finite.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
// Highway's ops, for the target that foreach_target.h chose.
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace nacre {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

// The exponent's bits are all set in what is not finite: then, and only then, the largest of them is that.
bool all_finite_here(int64_t n, const float* x) {
  constexpr uint32_t kExponent = 0x7f800000;
  const hn::ScalableTag<uint32_t> tag;
  const auto lanes = static_cast<int64_t>(hn::Lanes(tag));
  const auto mask = hn::Set(tag, kExponent);
  const auto* bits = reinterpret_cast<const uint32_t*>(x);
  auto largest0 = hn::Zero(tag);
  auto largest1 = hn::Zero(tag);
  int64_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    largest0 = hn::Max(largest0, hn::And(hn::LoadU(tag, bits + i), mask));
    largest1 = hn::Max(largest1, hn::And(hn::LoadU(tag, bits + i + lanes), mask));
  }
  uint32_t largest = hn::GetLane(hn::MaxOfLanes(tag, hn::Max(largest0, largest1)));
  for (; i < n; ++i) largest = HWY_MAX(largest, std::bit_cast<uint32_t>(x[i]) & kExponent);
  return largest < kExponent;
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace nacre
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace nacre {
namespace {

HWY_EXPORT(all_finite_here);

}  // namespace

bool all_finite(int64_t n, const float* x) {
  return HWY_DYNAMIC_DISPATCH(all_finite_here)(n, x);
}

}  // namespace nacre
#endif
