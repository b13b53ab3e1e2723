#include <algorithm>

#include "layers/winograd_kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "layers/winograd_input.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
// Highway's ops, for the target that foreach_target.h chose.
#include <hwy/highway.h>

#include "layers/winograd_transforms-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nacre::winograd {
namespace HWY_NAMESPACE {
namespace {

using nacre::HWY_NAMESPACE::Whole;

/// For tiles whose columns go by matrices MY and rows by MX.
template <class MY, class MX>
struct Input {
  static constexpr int kInputs = MX::kInputs;  // in a row
  static constexpr int kPoints = MX::kPoints;
  static constexpr int kRows = MY::kTile;
  static constexpr int kColumns = MX::kTile;
  static constexpr int kSize = MX::kKernel;
  // Tiles that are taken down their columns together: neighbours share some of those. They have room in the
  // first-level cache.
  static constexpr int64_t kTogether = MX::kImaginary ? 4 : 8;
  static constexpr int64_t kStrip = kTogether * kColumns + kSize - 1;

  /// Columns from `x` on of a vector of channels, down to the points: [points][kStrip][kLanes].
  static void columns_to_points(const TilesOfImage& from, int64_t channels, int64_t c, int64_t x,
                                int64_t columns, float* strip) {
    HWY_ALIGN static constexpr float kZeros[kLanes] = {};
    const int64_t first = std::clamp<int64_t>(-x, 0, columns);
    const int64_t end = std::clamp<int64_t>(from.width - x, first, columns);
    const float* pixel[MY::kInputs];
    int64_t step[MY::kInputs];
    for (int64_t i = 0; i < MY::kInputs; ++i) {
      const int64_t y = from.y + i;
      const bool inside = y >= 0 && y < from.height && end > first;
      step[i] = inside ? channels : 0;
      pixel[i] = inside ? from.image + (y * from.width + x + first) * channels + c : kZeros;
    }
    const auto clear = [&](int64_t column) HWY_ATTR {
      for (int p = 0; p < MY::kPoints; ++p) {
        hn::Store(hn::Zero(Tag()), Tag(), strip + (p * kStrip + column) * kLanes);
      }
    };
    for (int64_t column = 0; column < first; ++column) clear(column);
    for (int64_t column = end; column < columns; ++column) clear(column);
    const auto load_columns = [&](const auto& lanes) HWY_ATTR {
      for (int64_t column = 0; column < end - first; ++column) {
        Vector in[MY::kInputs];
        Vector points[MY::kPoints];
#pragma GCC unroll 12
        for (int i = 0; i < MY::kInputs; ++i) in[i] = lanes.load(pixel[i] + column * step[i]);
        to_points<InputMatrix<MY>>(in, points);
#pragma GCC unroll 12
        for (int p = 0; p < MY::kPoints; ++p) {
          hn::Store(points[p], Tag(), strip + (p * kStrip + first + column) * kLanes);
        }
      }
    };
    if (channels - c >= kLanes) {
      load_columns(Whole{0});
    } else {
      load_columns(Part{0, static_cast<size_t>(channels - c) * sizeof(float)});
    }
  }

  static void to_planes(const TilesOfImage& from, int64_t channels, int64_t tiles, const Planes& planes) {
    HWY_ALIGN float strip[MY::kPoints * kStrip * kLanes];
    for (int64_t begin = 0; begin < tiles; begin += kTogether) {
      const int64_t count = std::min(kTogether, tiles - begin);
      const int64_t x = from.x + begin * kColumns;
      for (int64_t c = 0; c < channels; c += kLanes) {
        columns_to_points(from, channels, c, x, count * kColumns + kSize - 1, strip);
        for (int64_t tile = 0; tile < count; ++tile) {
          // What the tile below, or the next image's, will be the first to read.
          const float* below =
              from.image + ((from.y + MY::kInputs) * from.width + x + tile * kColumns) * channels + c;
          for (int64_t i = 0; from.far && i < kRows; ++i, below += from.width * channels) {
#pragma GCC unroll 12
            for (int j = 0; j < kColumns; ++j) __builtin_prefetch(below + j * channels, 0, 2);
          }
          const float* at = strip + tile * kColumns * kLanes;
          float* to = planes.data + (begin + tile) * planes.row + c;
          for (int p = 0; p < MY::kPoints; ++p, at += kStrip * kLanes) {
            Vector in[kInputs];
            Vector points[kPoints];
#pragma GCC unroll 12
            for (int k = 0; k < kInputs; ++k) in[k] = hn::Load(Tag(), at + k * kLanes);
            to_points<InputMatrix<MX>>(in, points);
#pragma GCC unroll 12
            for (int q = 0; q < kPoints; ++q, to += planes.plane) hn::StoreU(points[q], Tag(), to);
          }
        }
      }
    }
  }
};

void input_to_points_here(const Algorithm& algorithm, const TilesOfImage& from, int64_t channels,
                          int64_t tiles, const Planes& planes) {
  with_matrices(algorithm, [&](auto y, auto x) {
    Input<decltype(y), decltype(x)>::to_planes(from, channels, tiles, planes);
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace nacre::winograd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace nacre::winograd {

HWY_EXPORT(input_to_points_here);

void input_to_points(const Algorithm& algorithm, const TilesOfImage& from, int64_t channels, int64_t tiles,
                     const Planes& planes) {
  HWY_DYNAMIC_DISPATCH(input_to_points_here)(algorithm, from, channels, tiles, planes);
}

}  // namespace nacre::winograd
#endif  // HWY_ONCE
