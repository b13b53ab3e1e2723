#pragma once

#include <cstddef>
#include <cstdint>

#include "layers/conv.h"
#include "layers/winograd_kernels.h"

namespace nacre {

/// A convolution of 3x3 or 5x5 with steps of 1, one group and no dilation by Winograd's F(4x4, 3x3) or
/// F(4x4, 5x5): 4 respectively 6.25 times fewer multiplications. Tiles of 4 x 4 outputs become values at 36
/// or 64 points, and at each point all tiles, channels and filters meet in one product of matrices.
///
/// A stripe is a run of output rows that begins at a multiple of 4; `images` images are worked on together,
/// so that the products have enough rows. The bits of an output depend on the tile's inputs and the kernel
/// alone.
class WinogradConv {
 public:
  explicit WinogradConv(const ConvGeometry& geometry);

  /// Tiles that are to be worked on together: their values stay in the second-level cache.
  [[nodiscard]] int64_t good_tiles() const { return good_tiles_; }
  [[nodiscard]] int64_t tiles_in(int64_t rows) const;
  [[nodiscard]] int64_t points() const { return (size() + 3) * (size() + 3); }

  /// Floats of the kernel at the points, packed for forward; for input gradients; and of its gradient.
  [[nodiscard]] int64_t forward_floats() const { return points() * forward_plane_; }
  [[nodiscard]] int64_t backward_floats() const { return points() * backward_plane_; }
  [[nodiscard]] int64_t kernel_points_floats() const { return points() * kernel_points_plane(); }

  /// Channels [begin, end) of the kernel into `packed` (forward_floats).
  void pack_forward(const float* kernel, int64_t begin, int64_t end, float* packed) const;
  /// Channels [begin, end) of the kernel into `points` (kernel_points_floats).
  void transform_kernel(const float* kernel, int64_t begin, int64_t end, float* points) const;
  /// One point of `points` into `packed` (backward_floats).
  void pack_backward(const float* points, int64_t point, float* packed) const;

  /// Bytes of scratch for what is below, for stripes of at most that many rows of `images` images.
  [[nodiscard]] size_t forward_scratch_bytes(int64_t images, int64_t rows) const;
  [[nodiscard]] size_t backward_scratch_bytes(int64_t images, int64_t rows) const;

  /// Sums of rows [y_begin, y_end) of `images` images: out [images][rows][W'][filters], images `image_step`
  /// floats apart, with bias (may be null) and relu.
  void sums(const float* image, int64_t images, int64_t y_begin, int64_t y_end, const float* packed,
            const float* bias, std::byte* scratch, float* out, int64_t image_step) const;

  /// Adds to the gradient with respect to `images` images what those of the sums' rows [y_begin, y_end)
  /// contribute: grad [images][rows][W'][filters], images `image_step` floats apart; `packed` by
  /// pack_backward.
  void add_input_gradient(const float* grad, int64_t image_step, int64_t images, int64_t y_begin,
                          int64_t y_end, const float* packed, std::byte* scratch, float* grad_image) const;

 private:
  [[nodiscard]] int64_t size() const { return g_.window.x.window; }
  [[nodiscard]] int64_t tile_columns() const { return (g_.window.x.out + 3) / 4; }
  [[nodiscard]] int64_t kernel_points_plane() const;
  /// Width and floats of the padded rows under `rows` output rows, rounded up to whole tiles.
  [[nodiscard]] int64_t padded_width() const { return tile_columns() * 4 + size() - 1; }
  [[nodiscard]] int64_t padded_floats(int64_t rows) const;
  /// products.c = a * kernel at every point, for `columns` columns from `column` on.
  struct Products;
  void multiply(const Products& products) const;
  /// Adds padded rows of `columns` channels from c on to an image.
  void add_rows(const float* padded, int64_t y_begin, int64_t rows, int64_t c, int64_t columns,
                float* image) const;
  /// Input rows of `images` images to points.
  void load_tiles(const float* image, int64_t images, int64_t y_begin, int64_t y_end, float* padded,
                  const winograd::Planes& planes) const;

  ConvGeometry g_;
  int64_t good_tiles_ = 0;
  int64_t filter_block_ = 0;  // filters (channels in backward) that one round of products computes
  int64_t channel_block_ = 0;
  int64_t forward_plane_ = 0;   // floats of one point's packed kernel
  int64_t backward_plane_ = 0;  // and of its transpose
};

}  // namespace nacre
