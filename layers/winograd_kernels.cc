#include "layers/winograd_kernels.h"

#include <algorithm>

#include "layers/fetch_ahead.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "layers/winograd_kernels.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
// Highway's ops, for the target that foreach_target.h chose.
#include <hwy/highway.h>

#include "layers/pool_pairs-inl.h"
#include "layers/winograd_transforms-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nacre::winograd {
namespace HWY_NAMESPACE {
namespace {

using nacre::HWY_NAMESPACE::ask_for_cells;
using nacre::HWY_NAMESPACE::pool_pairs;
using nacre::HWY_NAMESPACE::unpool_pairs;

/// For tiles whose columns go by matrices MY and rows by MX.
template <class MY, class MX>
struct Kernels {
  static constexpr int kPoints = MX::kPoints;  // in a row
  static constexpr int kRows = MY::kTile;
  static constexpr int kColumns = MX::kTile;
  static constexpr int kSize = MX::kKernel;

  // Whole tiles are written to where they belong, others by way of a copy.
  static void points_to_output(const Planes& planes, int64_t channels, int64_t tiles, const float* bias,
                               bool relu, int64_t height, int64_t width, const Pixels<float>& pixels) {
    const Vector least = relu ? hn::Zero(Tag()) : hn::Neg(hn::Inf(Tag()));
    for (int64_t tile = 0; tile < tiles; ++tile) {
      const int64_t columns = std::min<int64_t>(kColumns, width - tile * kColumns);
      for (int64_t c = 0; c < channels; c += kLanes) {
        const int64_t count = channels - c;
        const Vector shift = bias == nullptr ? hn::Zero(Tag()) : load_some(bias + c, count);
        const float* from = planes.data + tile * planes.row + c;
        float* out = pixels.data + tile * kColumns * pixels.pixel + c;
        // The tile below will be written; of a small one the hardware sees it coming.
        for (int64_t i = 0; kRows >= 4 && pixels.far && i < kRows; ++i) {
          for (int64_t j = 0; j < kColumns; ++j) {
            prefetch_to_write(out + (i + kRows) * pixels.row + j * pixels.pixel);
          }
        }
        HWY_ALIGN float copy[kRows * kColumns * kLanes];
        const bool whole = count >= kLanes && height >= kRows && columns == kColumns;
        const Pixels<float> to = whole ? Pixels<float>{out, pixels.row, pixels.pixel}
                                       : Pixels<float>{copy, kColumns * kLanes, kLanes};
        plane_from_points<OutputMatrix<MY>, OutputMatrix<MX>>(
            [&](int p, int q) HWY_ATTR { return load(from + (p * kPoints + q) * planes.plane); },
            [&](int i, int j, Vector v) HWY_ATTR {
              const Vector y = hn::Add(v, shift);
              // NaN compares false, and stays.
              hn::StoreU(hn::IfThenElse(hn::Lt(y, least), least, y), Tag(),
                         to.data + i * to.row + j * to.pixel);
            });
        if (whole) continue;
        copy_part(to, std::min<int64_t>(kRows, height), columns, std::min(kLanes, count),
                  {out, pixels.row, pixels.pixel});
      }
    }
  }

  static void points_to_pooled(const Planes& planes, int64_t channels, int64_t tiles, const float* bias,
                               bool relu, int64_t height, int64_t width, const PooledCells& pooled) {
    constexpr int64_t kCellRows = kRows / 2;
    constexpr int64_t kCells = kColumns / 2;
    for (int64_t tile = 0; tile < tiles; ++tile) {
      const int64_t columns = std::min(kCells, width - tile * kCells);
      for (int64_t c = 0; c < channels; c += kLanes) {
        const int64_t count = channels - c;
        const Vector shift = bias == nullptr ? hn::Zero(Tag()) : load_some(bias + c, count);
        const float* from = planes.data + tile * planes.row + c;
        HWY_ALIGN float copy[kCellRows * kCells * kLanes];
        HWY_ALIGN uint8_t winners[kCellRows * kCells * kLanes];
        const bool whole = count >= kLanes && height >= kCellRows && columns == kCells;
        const PooledCells out = pooled.at(tile * kCells * pooled.pixel + c);
        ask_for_cells<kCellRows, kCells>(out.at(kCellRows * out.row));
        const PooledCells to = whole ? out : out.in(copy, winners, kCells * kLanes, kLanes);
        Vector rows[2][kColumns];
        plane_from_points<OutputMatrix<MY>, OutputMatrix<MX>>(
            [&](int p, int q) HWY_ATTR { return load(from + (p * kPoints + q) * planes.plane); },
            [&](int i, int j, Vector v) HWY_ATTR {
              rows[i % 2][j] = hn::Add(v, shift);
              if (i % 2 == 0 || j % 2 == 0) return;
              const Vector four[4] = {rows[0][j - 1], rows[0][j], rows[1][j - 1], rows[1][j]};
              pool_pairs(four, relu, to, i / 2 * to.row + j / 2 * to.pixel);
            });
        if (!whole) {
          copy_cells(to, std::min(kCellRows, height), columns, std::min(kLanes, count), out);
        }
      }
    }
  }

  static void pooled_gradient_to_points(const Pixels<const float>& cells, const uint8_t* winners,
                                        int64_t channels, int64_t tiles, int64_t height, int64_t width,
                                        const Planes& planes) {
    constexpr int kCells = kColumns / 2;
    for (int64_t tile = 0; tile < tiles; ++tile) {
      const int64_t columns = width - tile * kCells;
      for (int64_t c = 0; c < channels; c += kLanes) {
        float* to = planes.data + tile * planes.row + c;
        Vector half[MY::kPoints][kColumns];
        for_each_line<OutputMatrix<MX>, kCells>([&](int cell) HWY_ATTR __attribute__((always_inline)) {
          Vector left[kRows];
          Vector right[kRows];
#pragma GCC unroll 3
          for (int i = 0; i < kRows; i += 2) {
            Vector four[4];
            if (i / 2 < height && cell < columns) {
              const int64_t at = i / 2 * cells.row + (tile * kCells + cell) * cells.pixel + c;
              unpool_pairs(cells.data, winners, at, channels - c, four);
            } else {
              for (Vector& none : four) none = hn::Zero(Tag());
            }
            left[i] = four[0];
            right[i] = four[1];
            left[i + 1] = four[2];
            right[i + 1] = four[3];
          }
          column_to_points<OutputMatrix<MY>, kColumns>(left, half, 2 * cell);
          column_to_points<OutputMatrix<MY>, kColumns>(right, half, 2 * cell + 1);
        });
        rows_to_points<OutputMatrix<MY>, OutputMatrix<MX>>(half, [&](int p, int q, Vector v) HWY_ATTR {
          hn::StoreU(v, Tag(), to + (p * kPoints + q) * planes.plane);
        });
      }
    }
  }

  static void gradient_to_points(const Pixels<const float>& pixels, int64_t channels, int64_t tiles,
                                 int64_t height, int64_t width, const Planes& planes) {
    for (int64_t tile = 0; tile < tiles; ++tile) {
      const int64_t columns = width - tile * kColumns;
      for (int64_t c = 0; c < channels; c += kLanes) {
        const float* from = pixels.data + tile * kColumns * pixels.pixel + c;
        float* to = planes.data + tile * planes.row + c;
        // What the tile below, or the next image's, will read.
#pragma GCC unroll 6
        for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 6
          for (int j = 0; j < kColumns; ++j) {
            __builtin_prefetch(from + (i + kRows) * pixels.row + j * pixels.pixel, 0, 2);
          }
        }
        plane_to_points<OutputMatrix<MY>, OutputMatrix<MX>>(
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
        float* to = pixels.data + tile * kColumns * pixels.pixel + c;
        plane_from_points<InputMatrix<MY>, InputMatrix<MX>>(
            [&](int p, int q) HWY_ATTR { return load(from + (p * kPoints + q) * planes.plane); },
            [&](int i, int j, Vector v) HWY_ATTR {
              float* at = to + i * pixels.row + j * pixels.pixel;
              store_some(hn::Add(load_some(at, channels - c), v), at, channels - c);
            });
      }
    }
  }

  static void points_to_kernel_sums(const Planes& planes, int64_t channels, bool add, const Planes& sums) {
    for (int64_t i = 0; i < channels * planes.row; i += kLanes) {
      Vector points[kPoints];
      Vector row[kSize];
#pragma GCC unroll 12
      for (int q = 0; q < kPoints; ++q) points[q] = load(planes.data + q * planes.plane + i);
      from_points<KernelMatrix<MX>>(points, row);
#pragma GCC unroll 5
      for (int j = 0; j < kSize; ++j) {
        float* to = sums.data + j * sums.plane + i;
        hn::StoreU(add ? hn::Add(load(to), row[j]) : row[j], Tag(), to);
      }
    }
  }

  static void sums_to_kernel_gradient(const Planes& sums, int64_t channels, int64_t filters,
                                      float* grad_kernel) {
    // A column of the kernel at a time: few enough planes for the hardware to see what comes.
    for (int64_t j = 0; j < kSize; ++j) {
      for (int64_t c = 0; c < channels; ++c) {
        for (int64_t f = 0; f < filters; f += kLanes) {
          const float* from = sums.data + j * sums.plane + c * sums.row + f;
          float* to = grad_kernel + (j * channels + c) * filters + f;
          Vector points[MY::kPoints];
          Vector column[kSize];
#pragma GCC unroll 12
          for (int p = 0; p < MY::kPoints; ++p) points[p] = load(from + p * kSize * sums.plane);
          from_points<KernelMatrix<MY>>(points, column);
#pragma GCC unroll 5
          for (int i = 0; i < kSize; ++i) {
            store_some(column[i], to + i * kSize * channels * filters, filters - f);
          }
        }
      }
    }
  }
};

/// body(the kernels of an algorithm).
template <typename Body>
void with_kernels(const Algorithm& algorithm, const Body& body) {
  with_matrices(algorithm, [&](auto y, auto x) { body(Kernels<decltype(y), decltype(x)>()); });
}

/// The same for gradients, whose tiles are of 4 x 4 or 6 x 6.
template <typename Body>
void with_gradient_kernels(const Algorithm& algorithm, const Body& body) {
  using Three = Matrices<4, 3>;
  using Five = Matrices<4, 5>;
  using Large = Matrices<6, 5>;
  if (algorithm.size == 5 && algorithm.rows == 6) return body(Kernels<Large, Large>());
  algorithm.size == 3 ? body(Kernels<Three, Three>()) : body(Kernels<Five, Five>());
}

void points_to_output_here(const Algorithm& algorithm, const Planes& planes, int64_t channels, int64_t tiles,
                           const float* bias, bool relu, int64_t height, int64_t width,
                           const Pixels<float>& pixels) {
  with_kernels(algorithm, [&](auto kernels) {
    kernels.points_to_output(planes, channels, tiles, bias, relu, height, width, pixels);
  });
}

void gradient_to_points_here(const Algorithm& algorithm, const Pixels<const float>& pixels, int64_t channels,
                             int64_t tiles, int64_t height, int64_t width, const Planes& planes) {
  with_gradient_kernels(algorithm, [&](auto kernels) {
    kernels.gradient_to_points(pixels, channels, tiles, height, width, planes);
  });
}

void points_to_input_gradient_here(const Algorithm& algorithm, const Planes& planes, int64_t channels,
                                   int64_t tiles, const Pixels<float>& pixels) {
  with_gradient_kernels(
      algorithm, [&](auto kernels) { kernels.points_to_input_gradient(planes, channels, tiles, pixels); });
}

void points_to_kernel_sums_here(const Algorithm& algorithm, const Planes& planes, int64_t channels, bool add,
                                const Planes& sums) {
  with_gradient_kernels(algorithm,
                        [&](auto kernels) { kernels.points_to_kernel_sums(planes, channels, add, sums); });
}

void sums_to_kernel_gradient_here(const Algorithm& algorithm, const Planes& sums, int64_t channels,
                                  int64_t filters, float* grad_kernel) {
  with_gradient_kernels(algorithm, [&](auto kernels) {
    kernels.sums_to_kernel_gradient(sums, channels, filters, grad_kernel);
  });
}

void points_to_pooled_here(const Algorithm& algorithm, const Planes& planes, int64_t channels, int64_t tiles,
                           const float* bias, bool relu, int64_t height, int64_t width,
                           const PooledCells& pooled) {
  with_kernels(algorithm, [&](auto kernels) {
    kernels.points_to_pooled(planes, channels, tiles, bias, relu, height, width, pooled);
  });
}

void pooled_gradient_to_points_here(const Algorithm& algorithm, const Pixels<const float>& cells,
                                    const uint8_t* winners, int64_t channels, int64_t tiles, int64_t height,
                                    int64_t width, const Planes& planes) {
  with_gradient_kernels(algorithm, [&](auto kernels) {
    kernels.pooled_gradient_to_points(cells, winners, channels, tiles, height, width, planes);
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace nacre::winograd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace nacre::winograd {

HWY_EXPORT(points_to_output_here);
HWY_EXPORT(gradient_to_points_here);
HWY_EXPORT(points_to_input_gradient_here);
HWY_EXPORT(points_to_kernel_sums_here);
HWY_EXPORT(sums_to_kernel_gradient_here);
HWY_EXPORT(pooled_gradient_to_points_here);
HWY_EXPORT(points_to_pooled_here);

void points_to_output(const Algorithm& algorithm, const Planes& planes, int64_t channels, int64_t tiles,
                      const float* bias, bool relu, int64_t height, int64_t width,
                      const Pixels<float>& pixels) {
  HWY_DYNAMIC_DISPATCH(points_to_output_here)
  (algorithm, planes, channels, tiles, bias, relu, height, width, pixels);
}

void gradient_to_points(const Algorithm& algorithm, const Pixels<const float>& pixels, int64_t channels,
                        int64_t tiles, int64_t height, int64_t width, const Planes& planes) {
  HWY_DYNAMIC_DISPATCH(gradient_to_points_here)(algorithm, pixels, channels, tiles, height, width, planes);
}

void points_to_input_gradient(const Algorithm& algorithm, const Planes& planes, int64_t channels,
                              int64_t tiles, const Pixels<float>& pixels) {
  HWY_DYNAMIC_DISPATCH(points_to_input_gradient_here)(algorithm, planes, channels, tiles, pixels);
}

void points_to_kernel_sums(const Algorithm& algorithm, const Planes& planes, int64_t channels, bool add,
                           const Planes& sums) {
  HWY_DYNAMIC_DISPATCH(points_to_kernel_sums_here)(algorithm, planes, channels, add, sums);
}

void sums_to_kernel_gradient(const Algorithm& algorithm, const Planes& sums, int64_t channels,
                             int64_t filters, float* grad_kernel) {
  HWY_DYNAMIC_DISPATCH(sums_to_kernel_gradient_here)(algorithm, sums, channels, filters, grad_kernel);
}

void points_to_pooled(const Algorithm& algorithm, const Planes& planes, int64_t channels, int64_t tiles,
                      const float* bias, bool relu, int64_t height, int64_t width,
                      const PooledCells& pooled) {
  HWY_DYNAMIC_DISPATCH(points_to_pooled_here)
  (algorithm, planes, channels, tiles, bias, relu, height, width, pooled);
}

void pooled_gradient_to_points(const Algorithm& algorithm, const Pixels<const float>& cells,
                               const uint8_t* winners, int64_t channels, int64_t tiles, int64_t height,
                               int64_t width, const Planes& planes) {
  HWY_DYNAMIC_DISPATCH(pooled_gradient_to_points_here)
  (algorithm, cells, winners, channels, tiles, height, width, planes);
}

}  // namespace nacre::winograd
#endif  // HWY_ONCE
