#pragma once

#include <cstdint>
#include <cstring>

#include "layers/pool_kernels.h"

namespace nacre::winograd {

/// F(rows x columns, size x size): one of F(6x6, 3x3), F(4x4, 3x3), F(2x2, 3x3), F(6x6, 5x5) and F(4x4, 5x5),
/// see winograd_matrices.h.
struct Algorithm {
  int64_t rows = 4;  ///< outputs of one tile, and
  int64_t columns = 4;
  int64_t size = 3;  ///< of the kernel, squared

  [[nodiscard]] int64_t points_down() const { return points_of(rows + size - 1); }
  [[nodiscard]] int64_t points_across() const { return points_of(columns + size - 1); }
  [[nodiscard]] int64_t points() const { return points_down() * points_across(); }

 private:
  /// Matrices::kPoints.
  static constexpr int64_t points_of(int64_t inputs) { return inputs == 10 ? 11 : inputs; }
};

/// Values of tiles at the points: [points squared][tiles][channels], planes and rows apart as said. Between
/// the last channel and the end of a row lies what nobody reads.
struct Planes {
  float* data = nullptr;
  int64_t plane = 0;  ///< floats from one point to the next
  int64_t row = 0;    ///< floats from one tile to the next; a multiple of 16, not below the channels
};

/// Pixels [rows][columns][channels] that tiles lie on, as many pixels apart as a tile has.
template <typename T>
struct Pixels {
  T* data = nullptr;
  int64_t row = 0;    ///< floats from one row to the next
  int64_t pixel = 0;  ///< floats from one pixel to the next
  bool far = true;    ///< beyond the second-level cache: what the tiles below read or write is asked for
};

/// Where a row of tiles lies on a whole image [height][width][channels]: its first input is pixel (y, x).
/// What is outside the image is zero.
struct TilesOfImage {
  const float* image = nullptr;
  int64_t height = 0;
  int64_t width = 0;
  int64_t y = 0;
  int64_t x = 0;
  bool far = true;  ///< beyond the second-level cache: what the tiles below read is asked for
};

/// Copies `rows` x `columns` pixels of `count` elements.
template <typename T>
void copy_part(const Pixels<T>& from, int64_t rows, int64_t columns, int64_t count, const Pixels<T>& to) {
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j) {
      std::memcpy(to.data + i * to.row + j * to.pixel, from.data + i * from.row + j * from.pixel,
                  static_cast<size_t>(count) * sizeof(T));
    }
  }
}
inline void copy_cells(const PooledCells& from, int64_t rows, int64_t columns, int64_t count,
                       const PooledCells& to) {
  copy_part<float>({from.data, from.row, from.pixel}, rows, columns, count, {to.data, to.row, to.pixel});
  if (to.winners == nullptr) return;
  copy_part<uint8_t>({from.winners, from.row, from.pixel}, rows, columns, count,
                     {to.winners, to.row, to.pixel});
}

// Tiles are those of one row of tiles, from the left. Nothing needs alignment.

/// Input of `tiles` tiles to points.
void input_to_points(const Algorithm& algorithm, const TilesOfImage& from, int64_t channels, int64_t tiles,
                     const Planes& planes);

/// Outputs of the tiles, `height` x `width` of them inside, plus `bias` (may be null), then perhaps relu.
void points_to_output(const Algorithm& algorithm, const Planes& planes, int64_t channels, int64_t tiles,
                      const float* bias, bool relu, int64_t height, int64_t width,
                      const Pixels<float>& pixels);

/// The same, pooled by FusedPool::of_pairs on the way: `height` x `width` cells of the tiles are inside.
void points_to_pooled(const Algorithm& algorithm, const Planes& planes, int64_t channels, int64_t tiles,
                      const float* bias, bool relu, int64_t height, int64_t width, const PooledCells& pooled);

/// Adjoint of points_to_output: gradients of `height` x `width` outputs to points.
void gradient_to_points(const Algorithm& algorithm, const Pixels<const float>& pixels, int64_t channels,
                        int64_t tiles, int64_t height, int64_t width, const Planes& planes);

/// The same from gradients of `height` x `width` pooled cells and their winners (FusedPool::of_pairs).
void pooled_gradient_to_points(const Algorithm& algorithm, const Pixels<const float>& cells,
                               const uint8_t* winners, int64_t channels, int64_t tiles, int64_t height,
                               int64_t width, const Planes& planes);

/// Adjoint of input_to_points: adds to whole tiles of pixels.
void points_to_input_gradient(const Algorithm& algorithm, const Planes& planes, int64_t channels,
                              int64_t tiles, const Pixels<float>& pixels);

/// Adjoint of kernel_to_points along a row: a kernel's gradients at the points of one row, a plane of
/// [channels][planes.row] each, to `size` planes of sums of that kind; or adds to these.
void points_to_kernel_sums(const Algorithm& algorithm, const Planes& planes, int64_t channels, bool add,
                           const Planes& sums);

/// And down the columns: the sums of all rows of points, `size` planes for each, to the gradient of the
/// kernel [size][size][channels][filters].
void sums_to_kernel_gradient(const Algorithm& algorithm, const Planes& sums, int64_t channels,
                             int64_t filters, float* grad_kernel);

/// Kernel [size][size][channels][filters] to points, for channels [begin, end): planes [channels][filters],
/// row by row as `planes` says, or as panels of pack_b (k = channels, n = filters) when planes.row is 0.
void kernel_to_points(const Algorithm& algorithm, const float* kernel, int64_t channels, int64_t filters,
                      int64_t begin, int64_t end, const Planes& planes);

}  // namespace nacre::winograd
