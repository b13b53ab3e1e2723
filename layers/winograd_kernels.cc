#include "layers/winograd_kernels.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "layers/winograd_kernels.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
// Highway's ops, for the target that foreach_target.h chose.
#include <hwy/highway.h>

#include "layers/winograd_transforms-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nacre::winograd {
namespace HWY_NAMESPACE {
namespace {

HWY_INLINE Vector load(const float* from) {
  return hn::LoadU(Tag(), from);
}

/// A vector of which only the first `count` floats, or all if that is more than it has, are in memory.
HWY_INLINE Vector load_some(const float* from, int64_t count) {
  return count >= kLanes ? load(from) : Part{0, static_cast<size_t>(count) * sizeof(float)}.load(from);
}
HWY_INLINE void store_some(Vector v, float* to, int64_t count) {
  if (count >= kLanes) {
    hn::StoreU(v, Tag(), to);
  } else {
    Part{0, static_cast<size_t>(count) * sizeof(float)}.store(v, to);
  }
}

template <int R>
struct Kernels {
  static constexpr int kPoints = Matrices<R>::kPoints;

  static void input_to_points(const Pixels<const float>& pixels, int64_t channels, int64_t tiles,
                              const Planes& planes) {
    for (int64_t tile = 0; tile < tiles; ++tile) {
      for (int64_t c = 0; c < channels; c += kLanes) {
        const float* from = pixels.data + tile * kTile * pixels.pixel + c;
        float* to = planes.data + tile * planes.row + c;
        square_to_points<InputMatrix<R>>(
            [&](int i, int j) HWY_ATTR { return load(from + i * pixels.row + j * pixels.pixel); },
            [&](int p, int q, Vector v)
                HWY_ATTR { hn::StoreU(v, Tag(), to + (p * kPoints + q) * planes.plane); });
      }
    }
  }

  static void points_to_output(const Planes& planes, int64_t channels, int64_t tiles, const float* bias,
                               bool relu, int64_t height, int64_t width, const Pixels<float>& pixels) {
    const Vector least = relu ? hn::Zero(Tag()) : hn::Neg(hn::Inf(Tag()));
    for (int64_t tile = 0; tile < tiles; ++tile) {
      const int64_t columns = std::min<int64_t>(kTile, width - tile * kTile);
      for (int64_t c = 0; c < channels; c += kLanes) {
        const int64_t count = channels - c;
        const Vector shift = bias == nullptr ? hn::Zero(Tag()) : load_some(bias + c, count);
        const float* from = planes.data + tile * planes.row + c;
        float* to = pixels.data + tile * kTile * pixels.pixel + c;
        Vector out[kTile][kTile];
        square_from_points<OutputMatrix<R>>(
            [&](int p, int q) HWY_ATTR { return load(from + (p * kPoints + q) * planes.plane); },
            [&](int i, int j, Vector v) HWY_ATTR {
              const Vector y = hn::Add(v, shift);
              // NaN compares false, and stays.
              out[i][j] = hn::IfThenElse(hn::Lt(y, least), least, y);
            });
        for (int64_t i = 0; i < std::min<int64_t>(kTile, height); ++i) {
          for (int64_t j = 0; j < columns; ++j) {
            store_some(out[i][j], to + i * pixels.row + j * pixels.pixel, count);
          }
        }
      }
    }
  }

  static void gradient_to_points(const Pixels<const float>& pixels, int64_t channels, int64_t tiles,
                                 int64_t height, int64_t width, const Planes& planes) {
    for (int64_t tile = 0; tile < tiles; ++tile) {
      const int64_t columns = width - tile * kTile;
      for (int64_t c = 0; c < channels; c += kLanes) {
        const float* from = pixels.data + tile * kTile * pixels.pixel + c;
        float* to = planes.data + tile * planes.row + c;
        square_to_points<OutputMatrix<R>>(
            [&](int i, int j) HWY_ATTR {
              return i < height && j < columns
                         ? load_some(from + i * pixels.row + j * pixels.pixel, channels - c)
                         : hn::Zero(Tag());
            },
            [&](int p, int q, Vector v)
                HWY_ATTR { hn::StoreU(v, Tag(), to + (p * kPoints + q) * planes.plane); });
      }
    }
  }

  static void points_to_input_gradient(const Planes& planes, int64_t channels, int64_t tiles,
                                       const Pixels<float>& pixels) {
    for (int64_t tile = 0; tile < tiles; ++tile) {
      for (int64_t c = 0; c < channels; c += kLanes) {
        const float* from = planes.data + tile * planes.row + c;
        float* to = pixels.data + tile * kTile * pixels.pixel + c;
        square_from_points<InputMatrix<R>>(
            [&](int p, int q) HWY_ATTR { return load(from + (p * kPoints + q) * planes.plane); },
            [&](int i, int j, Vector v) HWY_ATTR {
              float* at = to + i * pixels.row + j * pixels.pixel;
              store_some(hn::Add(load_some(at, channels - c), v), at, channels - c);
            });
      }
    }
  }

  static void kernel_to_points(const float* kernel, int64_t channels, int64_t filters, int64_t begin,
                               int64_t end, const Planes& planes) {
    constexpr int64_t kPanel = 2 * kLanes;
    const bool panels = planes.row == 0;
    const int64_t columns = panels ? (filters + kPanel - 1) / kPanel * kPanel : filters;
    for (int64_t c = begin; c < end; ++c) {
      for (int64_t f = 0; f < columns; f += kLanes) {
        const float* from = kernel + c * filters + f;
        const int64_t count = std::max<int64_t>(0, filters - f);
        float* to =
            planes.data + (panels ? (f / kPanel * channels + c) * kPanel + f % kPanel : c * planes.row + f);
        square_to_points<KernelMatrix<R>>(
            [&](int i, int j) HWY_ATTR {
              return count == 0 ? hn::Zero(Tag()) : load_some(from + (i * R + j) * channels * filters, count);
            },
            [&](int p, int q, Vector v)
                HWY_ATTR { hn::StoreU(v, Tag(), to + (p * kPoints + q) * planes.plane); });
      }
    }
  }
};

void input_to_points_here(int64_t size, const Pixels<const float>& pixels, int64_t channels, int64_t tiles,
                          const Planes& planes) {
  size == 3 ? Kernels<3>::input_to_points(pixels, channels, tiles, planes)
            : Kernels<5>::input_to_points(pixels, channels, tiles, planes);
}

void points_to_output_here(int64_t size, const Planes& planes, int64_t channels, int64_t tiles,
                           const float* bias, bool relu, int64_t height, int64_t width,
                           const Pixels<float>& pixels) {
  size == 3 ? Kernels<3>::points_to_output(planes, channels, tiles, bias, relu, height, width, pixels)
            : Kernels<5>::points_to_output(planes, channels, tiles, bias, relu, height, width, pixels);
}

void gradient_to_points_here(int64_t size, const Pixels<const float>& pixels, int64_t channels, int64_t tiles,
                             int64_t height, int64_t width, const Planes& planes) {
  size == 3 ? Kernels<3>::gradient_to_points(pixels, channels, tiles, height, width, planes)
            : Kernels<5>::gradient_to_points(pixels, channels, tiles, height, width, planes);
}

void points_to_input_gradient_here(int64_t size, const Planes& planes, int64_t channels, int64_t tiles,
                                   const Pixels<float>& pixels) {
  size == 3 ? Kernels<3>::points_to_input_gradient(planes, channels, tiles, pixels)
            : Kernels<5>::points_to_input_gradient(planes, channels, tiles, pixels);
}

void kernel_to_points_here(int64_t size, const float* kernel, int64_t channels, int64_t filters,
                           int64_t begin, int64_t end, const Planes& planes) {
  size == 3 ? Kernels<3>::kernel_to_points(kernel, channels, filters, begin, end, planes)
            : Kernels<5>::kernel_to_points(kernel, channels, filters, begin, end, planes);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace nacre::winograd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace nacre::winograd {

HWY_EXPORT(input_to_points_here);
HWY_EXPORT(points_to_output_here);
HWY_EXPORT(gradient_to_points_here);
HWY_EXPORT(points_to_input_gradient_here);
HWY_EXPORT(kernel_to_points_here);

void input_to_points(int64_t size, const Pixels<const float>& pixels, int64_t channels, int64_t tiles,
                     const Planes& planes) {
  HWY_DYNAMIC_DISPATCH(input_to_points_here)(size, pixels, channels, tiles, planes);
}

void points_to_output(int64_t size, const Planes& planes, int64_t channels, int64_t tiles, const float* bias,
                      bool relu, int64_t height, int64_t width, const Pixels<float>& pixels) {
  HWY_DYNAMIC_DISPATCH(points_to_output_here)
  (size, planes, channels, tiles, bias, relu, height, width, pixels);
}

void gradient_to_points(int64_t size, const Pixels<const float>& pixels, int64_t channels, int64_t tiles,
                        int64_t height, int64_t width, const Planes& planes) {
  HWY_DYNAMIC_DISPATCH(gradient_to_points_here)(size, pixels, channels, tiles, height, width, planes);
}

void points_to_input_gradient(int64_t size, const Planes& planes, int64_t channels, int64_t tiles,
                              const Pixels<float>& pixels) {
  HWY_DYNAMIC_DISPATCH(points_to_input_gradient_here)(size, planes, channels, tiles, pixels);
}

void kernel_to_points(int64_t size, const float* kernel, int64_t channels, int64_t filters, int64_t begin,
                      int64_t end, const Planes& planes) {
  HWY_DYNAMIC_DISPATCH(kernel_to_points_here)(size, kernel, channels, filters, begin, end, planes);
}

}  // namespace nacre::winograd
#endif  // HWY_ONCE
