#pragma once

#include <cstddef>
#include <cstdint>

#include "layers/conv.h"
#include "layers/winograd_few.h"
#include "layers/winograd_kernels.h"

namespace nacre {

/// A convolution of 3x3 or 5x5 with steps of 1, one group and no dilation by Winograd's algorithm: 2.25
/// to 7.4 times fewer multiplications. Tiles of outputs become values at 16 to 121 points, and at each point
/// all tiles, channels and filters meet in one product of matrices. The gradients of input and kernel are the
/// adjoints: one takes products of the output's gradient at the points with the kernel there, the other with
/// the input there, summed over all tiles.
///
/// A stripe is a run of output rows that begins at a multiple of the tile's; `images` images are worked on
/// together, so that the products have enough rows. The bits of an output depend on the tile's inputs and the
/// kernel alone.
class WinogradConv {
 public:
  WinogradConv(const ConvGeometry& geometry, const winograd::Algorithm& algorithm);

  /// Tiles that are to be worked on together, forward or backward: their values stay in the second-level
  /// cache.
  [[nodiscard]] int64_t good_tiles() const { return good_tiles_; }
  [[nodiscard]] int64_t good_tiles_backward() const { return good_tiles_backward_; }
  [[nodiscard]] int64_t tiles_in(int64_t rows) const;
  [[nodiscard]] const winograd::Algorithm& algorithm() const { return algorithm_; }
  [[nodiscard]] int64_t points() const { return algorithm_.points(); }

  /// Floats of the kernel at the points, packed for forward, for input gradients; of its cells on their way
  /// to the latter; and of what its gradient is summed in.
  [[nodiscard]] int64_t forward_floats() const { return points() * forward_plane_; }
  [[nodiscard]] int64_t backward_floats() const { return points() * backward_plane_; }
  [[nodiscard]] int64_t cells_floats() const { return algorithm_.size * algorithm_.size * cell_floats(); }
  [[nodiscard]] int64_t kernel_sums_floats() const {
    return (algorithm_.points_down() * algorithm_.size + algorithm_.points_across()) * kernel_sums_plane();
  }

  /// Channels that one thread should take to the points at a time.
  static constexpr int64_t kKernelChannels = 4;
  /// Channels [begin, end) of the kernel into `packed` (forward_floats).
  void pack_forward(const float* kernel, int64_t begin, int64_t end, float* packed) const;
  /// For input gradients each cell of the kernel is packed first, into `cells` (cells_floats), ..
  void pack_cell(const float* kernel, int64_t cell, float* cells) const;
  /// .. and then parts [begin, end) of cell_parts() are taken to the points, into `packed` (backward_floats).
  [[nodiscard]] int64_t cell_parts() const { return cell_floats() / kCellPart; }
  void pack_backward(const float* cells, int64_t begin, int64_t end, float* packed) const;

  /// Bytes of scratch for what is below, for stripes of at most that many rows of `images` images.
  [[nodiscard]] size_t forward_scratch_bytes(int64_t images, int64_t rows) const;
  [[nodiscard]] size_t backward_scratch_bytes(int64_t images, int64_t rows) const;

  /// Output rows [y_begin, y_end) of some images that lie one after the other; forward, of them filters
  /// [f_begin, f_end), where a part begins at a multiple of kFilterStep.
  struct Stripe {
    int64_t images;
    int64_t y_begin;
    int64_t y_end;
    int64_t f_begin = 0;
    int64_t f_end = 0;
    bool far = true;  ///< inputs and outputs are beyond the second-level cache
  };
  static constexpr int64_t kFilterStep = 32;  // a multiple of every panel's width

  /// What a stripe of so many tiles and filters costs forward, in multiply-adds of a vector of 16 floats: for
  /// comparisons.
  [[nodiscard]] int64_t forward_cost(int64_t tiles, int64_t filters) const;
  /// And what it costs besides when all of its inputs were written by another thread.
  [[nodiscard]] int64_t exchange_cost(int64_t tiles) const;

  /// Sums of a stripe: out [images][rows][W'][filters], images `image_step` floats apart, with bias (may be
  /// null) and relu. `image` is the first whole image.
  void sums(const Stripe& stripe, const float* image, const float* packed, const float* bias,
            std::byte* scratch, float* out, int64_t image_step) const;

  /// The same, pooled by FusedPool::of_pairs: `out` begins with the stripe's first row of cells, `width` of
  /// them in a row, images `image_step` elements apart.
  void pooled_sums(const Stripe& stripe, const float* image, const float* packed, const float* bias,
                   std::byte* scratch, const PooledCells& out, int64_t image_step, int64_t width) const;

  /// Whether the inputs under these output rows, and what their tiles reach over, are a whole image's.
  [[nodiscard]] bool covers_image(int64_t y_begin, int64_t y_end) const;

  /// What the gradients of a stripe's sums are added to.
  struct Gradients {
    /// Of the stripe's first whole image; null when it is not wanted.
    float* input = nullptr;
    bool overwrite_input = false;   ///< `input` holds nothing yet; only where covers_image
    const float* packed = nullptr;  ///< for `input`: by pack_backward
    float* kernel = nullptr;        ///< kernel_sums_floats; null when it is not wanted
    const float* image = nullptr;   ///< for `kernel`: the stripe's first whole image
    bool overwrite_kernel = false;  ///< `kernel` holds nothing yet
  };

  /// grad [images][rows][W'][filters], images `image_step` floats apart.
  void add_gradients(const Stripe& stripe, const float* grad, int64_t image_step, std::byte* scratch,
                     const Gradients& to) const;

  /// The same from gradients and winners of whole images' pooled cells, by FusedPool::of_pairs.
  void add_pooled_gradients(const Stripe& stripe, const float* grad, const uint8_t* winners,
                            const Window2& pool, std::byte* scratch, const Gradients& to) const;

  /// The kernel's gradient, of what it is summed in.
  void finish_kernel_gradient(float* sums, float* grad_kernel) const;

 private:
  [[nodiscard]] int64_t tile_rows(int64_t rows) const {
    return (rows + algorithm_.rows - 1) / algorithm_.rows;
  }
  [[nodiscard]] int64_t tile_columns() const {
    return (g_.window.x.out + algorithm_.columns - 1) / algorithm_.columns;
  }
  static constexpr int64_t kCellPart = 16;
  [[nodiscard]] int64_t cell_floats() const;  // of a packed cell
  [[nodiscard]] int64_t kernel_sums_plane() const;
  /// Extents and floats of the padded rows under `rows` output rows, rounded up to whole tiles.
  [[nodiscard]] int64_t padded_rows(int64_t rows) const {
    return tile_rows(rows) * algorithm_.rows + algorithm_.size - 1;
  }
  [[nodiscard]] int64_t padded_width() const {
    return tile_columns() * algorithm_.columns + algorithm_.size - 1;
  }
  [[nodiscard]] int64_t padded_floats(int64_t rows) const;
  /// products.c = a * kernel at every point, for `columns` columns from `column` on.
  struct Products;
  void multiply(const Products& products) const;
  /// Adds a stripe's padded rows of `columns` channels from c on to an image, or puts them there.
  void add_rows(const float* padded, const Stripe& stripe, int64_t c, int64_t columns, bool overwrite,
                float* image) const;
  /// Input rows of a stripe to points.
  void load_tiles(const Stripe& stripe, const float* image, const winograd::Planes& planes) const;
  /// row_of(image, row, of few channels) for every row of tiles of a stripe.
  template <typename RowOf>
  void for_each_row_of_few(const Stripe& stripe, const float* image, const float* packed, const float* bias,
                           const RowOf& row_of) const;
  /// from_points(image, row, filter, filters, planes) takes the sums of one row of tiles.
  template <typename FromPoints>
  void sums_of(const Stripe& stripe, const float* image, const float* packed, std::byte* scratch,
               const FromPoints& from_points) const;
  /// to_points(image, row, planes) gives the gradients of one row of tiles.
  template <typename ToPoints>
  void add_gradients_of(const Stripe& stripe, std::byte* scratch, const Gradients& to,
                        const ToPoints& to_points) const;
  void add_kernel_products(int64_t tiles, const winograd::Planes& inputs, const winograd::Planes& grads,
                           const Gradients& to) const;
  /// `grads`: of all tiles; `results`: room for channel_block_ channels.
  void add_input_gradient(const Stripe& stripe, const winograd::Planes& grads,
                          const winograd::Planes& results, float* padded, std::byte* workspace,
                          const Gradients& to) const;

  ConvGeometry g_;
  winograd::Algorithm algorithm_;
  bool of_few_;  // forward by winograd_few.h
  int64_t good_tiles_ = 0;
  int64_t good_tiles_backward_ = 0;
  int64_t filter_block_ = 0;  // filters (channels in backward) that one round of products computes
  int64_t channel_block_ = 0;
  int64_t forward_plane_ = 0;   // floats of one point's packed kernel
  int64_t backward_plane_ = 0;  // and of its transpose
};

}  // namespace nacre
