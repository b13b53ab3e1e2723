#include <algorithm>

#include "layers/winograd_kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "layers/winograd_kernel_points.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
// Highway's ops, for the target that foreach_target.h chose.
#include <hwy/cache_control.h>
#include <hwy/highway.h>

// A kernel is taken to the points once for a whole batch: not worth so much code.
#define NACRE_WINOGRAD_UNROLLED_LINES 1
#include "layers/winograd_transforms-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nacre::winograd {
namespace HWY_NAMESPACE {
namespace {

using nacre::HWY_NAMESPACE::can_bypass;
using nacre::HWY_NAMESPACE::store_result;
using nacre::HWY_NAMESPACE::Whole;

// From so many on a kernel at the points is written past the caches: it is more than a second-level cache
// holds, and half of what a thread reads of it another one wrote, out of whose cache it would come slowly.
constexpr int64_t kMostCachedFloats = 256 * 1024;
// So many stores lie between those of neighbouring vectors that one should fill a line of the cache.
constexpr bool kFillsLines = kLanes * sizeof(float) == 64;

template <class MY, class MX>
void to_planes(const float* kernel, int64_t channels, int64_t filters, int64_t begin, int64_t end,
               const Planes& planes) {
  constexpr int64_t kPanel = 2 * kLanes;
  const bool panels = planes.row == 0;
  const bool bypass = kFillsLines && MY::kPoints * MX::kPoints * planes.plane > kMostCachedFloats &&
                      can_bypass(planes.data, planes.plane);
  const int64_t columns = panels ? (filters + kPanel - 1) / kPanel * kPanel : filters;
  for (int64_t c = begin; c < end; ++c) {
    for (int64_t f = 0; f < columns; f += kLanes) {
      const float* from = kernel + c * filters + f;
      const int64_t count = std::max<int64_t>(0, filters - f);
      float* to =
          planes.data + (panels ? (f / kPanel * channels + c) * kPanel + f % kPanel : c * planes.row + f);
      plane_to_points<KernelMatrix<MY>, KernelMatrix<MX>>(
          [&](int i, int j) HWY_ATTR {
            return count == 0 ? hn::Zero(Tag())
                              : load_some(from + (i * MX::kKernel + j) * channels * filters, count);
          },
          [&](int p, int q, Vector v)
              HWY_ATTR { store_result(Whole{0}, v, bypass, to + (p * MX::kPoints + q) * planes.plane); });
    }
  }
  if (bypass) hwy::FlushStream();
}

void kernel_to_points_here(const Algorithm& algorithm, const float* kernel, int64_t channels, int64_t filters,
                           int64_t begin, int64_t end, const Planes& planes) {
  with_matrices(algorithm, [&](auto y, auto x) {
    to_planes<decltype(y), decltype(x)>(kernel, channels, filters, begin, end, planes);
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace nacre::winograd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace nacre::winograd {

HWY_EXPORT(kernel_to_points_here);

void kernel_to_points(const Algorithm& algorithm, const float* kernel, int64_t channels, int64_t filters,
                      int64_t begin, int64_t end, const Planes& planes) {
  HWY_DYNAMIC_DISPATCH(kernel_to_points_here)(algorithm, kernel, channels, filters, begin, end, planes);
}

}  // namespace nacre::winograd
#endif  // HWY_ONCE
