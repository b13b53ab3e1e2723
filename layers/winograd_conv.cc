#include "layers/winograd_conv.h"

#include <algorithm>

#include "engine/gemm.h"
#include "engine/tensor.h"
#include "engine/vector_math.h"
#include "layers/aligned_floats.h"
#include "layers/outer_products.h"
#include "layers/winograd_products.h"

namespace nacre {
namespace {

using winograd::Planes;

// Values of all tiles of a stripe at all points, before and after the products: what the second-level cache
// holds, the kernel flowing by.
constexpr int64_t kCacheFloats = 128 * 1024;
// The kernel is read once for all tiles: they should be many enough to pay for it.
constexpr int64_t kLeastTiles = 24;
// Backward, the kernel's gradient is read and written once for them, too: as many as make up for it.
constexpr int64_t kLeastTilesBackward = 32;
constexpr int64_t kEnoughTilesBackward = 96;
// Filters of one round: a multiple of every panel's width.
constexpr int64_t kColumnBlock = 64;
// Up to so many channels, sums in blocks cost nothing.
constexpr int64_t kMostTerms = 64;
// Planes a power of two apart would fall into the same sets of the caches.
constexpr int64_t kPlaneGap = 16;

Planes planes_of(float* data, int64_t tiles, int64_t channels) {
  const int64_t row = align_floats(channels);
  return {data, tiles * row + kPlaneGap, row};
}

}  // namespace

WinogradConv::WinogradConv(const ConvGeometry& geometry, const winograd::Algorithm& algorithm)
    : g_(geometry),
      algorithm_(algorithm),
      of_few_(winograd::takes_few(algorithm, geometry.channels)),
      filter_block_(std::min(kColumnBlock, geometry.filters)),
      channel_block_(std::min(kColumnBlock, geometry.channels)) {
  const int64_t per_tile = points() * (align_floats(g_.channels) + align_floats(filter_block_));
  good_tiles_ = std::max(
      kCacheFloats / (of_few_ ? algorithm_.rows * algorithm_.columns * g_.filters : per_tile), kLeastTiles);
  const int64_t per_tile_backward = points() * (align_floats(g_.channels) + align_floats(g_.filters));
  const int64_t least = std::clamp(g_.channels * g_.filters * 5 / 4 / (g_.channels + g_.filters),
                                   kLeastTilesBackward, kEnoughTilesBackward);
  good_tiles_backward_ = std::max(kCacheFloats / per_tile_backward, least);
  forward_plane_ = static_cast<int64_t>(packed_b_floats(g_.channels, g_.filters)) + kPlaneGap;
  backward_plane_ = static_cast<int64_t>(packed_b_floats(g_.filters, g_.channels)) + kPlaneGap;
}

int64_t WinogradConv::tiles_in(int64_t rows) const {
  return tile_rows(rows) * tile_columns();
}

int64_t WinogradConv::forward_cost(int64_t tiles, int64_t filters) const {
  // Fewer rows do not fill a product's tile; a line of the kernel comes from the third-level cache; and a
  // value is taken to a point or back.
  constexpr int64_t kLeastRows = 6;
  constexpr int64_t kLine = 3;
  constexpr int64_t kTransform = 8;
  const int64_t vectors = align_floats(filters) / 16;
  const int64_t products = (std::max(tiles, kLeastRows) + kLine) * g_.channels * vectors;
  return points() * (products + kTransform * tiles * (align_floats(g_.channels) / 16 + vectors));
}

int64_t WinogradConv::exchange_cost(int64_t tiles) const {
  constexpr int64_t kLine = 64;  // out of the cache of another core
  return kLine * tiles * algorithm_.rows * algorithm_.columns * align_floats(g_.channels) / 16;
}

int64_t WinogradConv::cell_floats() const {
  return align_floats(static_cast<int64_t>(packed_b_floats(g_.filters, g_.channels)));
}

int64_t WinogradConv::kernel_sums_plane() const {
  return g_.channels * align_floats(g_.filters) + kPlaneGap;
}

int64_t WinogradConv::padded_floats(int64_t rows) const {
  return padded_rows(rows) * padded_width() * g_.channels;
}

void WinogradConv::pack_forward(const float* kernel, int64_t begin, int64_t end, float* packed) const {
  winograd::kernel_to_points(algorithm_, kernel, g_.channels, g_.filters, begin, end,
                             {packed, forward_plane_, 0});
}

void WinogradConv::pack_cell(const float* kernel, int64_t cell, float* cells) const {
  pack_b(g_.filters, g_.channels, kernel + cell * g_.channels * g_.filters, g_.filters, true,
         cells + cell * cell_floats());
}

void WinogradConv::pack_backward(const float* cells, int64_t begin, int64_t end, float* packed) const {
  // Element by element: so it does not matter what a row is.
  winograd::kernel_to_points(algorithm_, cells, cell_parts(), kCellPart, begin, end,
                             {packed, backward_plane_, kCellPart});
}

size_t WinogradConv::forward_scratch_bytes(int64_t images, int64_t rows) const {
  if (of_few_) return 0;
  const int64_t tiles = images * tiles_in(rows);
  return float_bytes(points() * planes_of(nullptr, tiles, g_.channels).plane) +
         float_bytes(points() * planes_of(nullptr, tiles, filter_block_).plane) +
         gemm_workspace_bytes(tiles, filter_block_, g_.channels);
}

size_t WinogradConv::backward_scratch_bytes(int64_t images, int64_t rows) const {
  const int64_t tiles = images * tiles_in(rows);
  return float_bytes(padded_floats(rows)) +
         float_bytes(points() * planes_of(nullptr, tiles, g_.filters).plane) +
         float_bytes(points() * planes_of(nullptr, tiles, g_.channels).plane) +
         gemm_workspace_bytes(tiles, channel_block_, g_.filters);
}

/// The products of all tiles with a part of the kernel, at every point.
struct WinogradConv::Products {
  int64_t tiles;
  int64_t columns;
  int64_t depth;
  Planes from;
  Planes to;
  const float* packed;  ///< whole panels that begin with the first column
  int64_t packed_plane;
  std::byte* workspace;
};

void WinogradConv::multiply(const Products& products) const {
  for (int64_t point = 0; point < points(); ++point) {
    const float* a = products.from.data + point * products.from.plane;
    const float* packed = products.packed + point * products.packed_plane;
    float* c = products.to.data + point * products.to.plane;
    if (products.depth <= kMostTerms) {
      winograd::multiply_in_blocks({products.tiles, products.columns, products.depth, a, products.from.row,
                                    packed, c, products.to.row,
                                    point + 1 < points() ? packed + products.packed_plane : nullptr});
      continue;
    }
    GemmArgs product;
    product.m = products.tiles;
    product.n = products.columns;
    product.k = products.depth;
    product.a = a;
    product.lda = products.from.row;
    product.c = c;
    product.ldc = products.to.row;
    sgemm_packed_b(product, packed, products.workspace);
  }
}

void WinogradConv::load_tiles(const Stripe& stripe, const float* image, const Planes& planes) const {
  const WindowAxis& y = g_.window.y;
  const WindowAxis& x = g_.window.x;
  int64_t tile = 0;
  for (int64_t n = 0; n < stripe.images; ++n) {
    for (int64_t row = stripe.y_begin; row < stripe.y_end; row += algorithm_.rows, tile += tile_columns()) {
      winograd::input_to_points(
          algorithm_, {image + n * g_.image_size(), y.in, x.in, y.start(row), x.start(0), stripe.far},
          g_.channels, tile_columns(), {planes.data + tile * planes.row, planes.plane, planes.row});
    }
  }
}

template <typename RowOf>
void WinogradConv::for_each_row_of_few(const Stripe& stripe, const float* image, const float* packed,
                                       const float* bias, const RowOf& row_of) const {
  const WindowAxis& y = g_.window.y;
  const WindowAxis& x = g_.window.x;
  winograd::RowOfFew row;
  row.channels = g_.channels;
  row.tiles = tile_columns();
  row.packed = packed + stripe.f_begin * g_.channels;
  row.packed_plane = forward_plane_;
  row.filters = stripe.f_end - stripe.f_begin;
  row.bias = bias == nullptr ? nullptr : bias + stripe.f_begin;
  row.relu = g_.relu;
  for (int64_t n = 0; n < stripe.images; ++n) {
    for (int64_t out = stripe.y_begin; out < stripe.y_end; out += algorithm_.rows) {
      row.from = {image + n * g_.image_size(), y.in, x.in, y.start(out), x.start(0)};
      row_of(n, out - stripe.y_begin, row);
    }
  }
}

template <typename FromPoints>
void WinogradConv::sums_of(const Stripe& stripe, const float* image, const float* packed, std::byte* scratch,
                           const FromPoints& from_points) const {
  const int64_t rows = stripe.y_end - stripe.y_begin;
  const int64_t tiles = stripe.images * tiles_in(rows);
  const Planes from = planes_of(reinterpret_cast<float*>(scratch), tiles, g_.channels);
  scratch += float_bytes(points() * from.plane);
  const Planes to = planes_of(reinterpret_cast<float*>(scratch), tiles, filter_block_);
  scratch += float_bytes(points() * to.plane);
  load_tiles(stripe, image, from);
  for (int64_t f = stripe.f_begin; f < stripe.f_end; f += filter_block_) {
    const int64_t columns = std::min(filter_block_, stripe.f_end - f);
    multiply({tiles, columns, g_.channels, from, to, packed + f * g_.channels, forward_plane_, scratch});
    int64_t tile = 0;
    for (int64_t n = 0; n < stripe.images; ++n) {
      for (int64_t y = 0; y < rows; y += algorithm_.rows, tile += tile_columns()) {
        from_points(n, y, f, columns, Planes{to.data + tile * to.row, to.plane, to.row});
      }
    }
  }
}

void WinogradConv::sums(const Stripe& stripe, const float* image, const float* packed, const float* bias,
                        std::byte* scratch, float* out, int64_t image_step) const {
  const int64_t line = g_.window.x.out * g_.filters;
  const int64_t rows = stripe.y_end - stripe.y_begin;
  if (of_few_) {
    return for_each_row_of_few(
        stripe, image, packed, bias, [&](int64_t n, int64_t y, const winograd::RowOfFew& row) {
          float* const to = out + n * image_step + y * line + stripe.f_begin;
          winograd::few_to_output(row, rows - y, g_.window.x.out, {to, line, g_.filters});
        });
  }
  sums_of(stripe, image, packed, scratch,
          [&](int64_t n, int64_t y, int64_t f, int64_t columns, const Planes& planes) {
            winograd::points_to_output(algorithm_, planes, columns, tile_columns(),
                                       bias == nullptr ? nullptr : bias + f, g_.relu, rows - y,
                                       g_.window.x.out,
                                       {out + n * image_step + y * line + f, line, g_.filters, stripe.far});
          });
}

void WinogradConv::pooled_sums(const Stripe& stripe, const float* image, const float* packed,
                               const float* bias, std::byte* scratch, const PooledCells& out,
                               int64_t image_step, int64_t width) const {
  const int64_t rows = stripe.y_end - stripe.y_begin;
  if (of_few_) {
    return for_each_row_of_few(
        stripe, image, packed, bias, [&](int64_t n, int64_t y, const winograd::RowOfFew& row) {
          winograd::few_to_pooled(row, (rows - y) / 2, width,
                                  out.at(n * image_step + y / 2 * out.row + stripe.f_begin));
        });
  }
  sums_of(stripe, image, packed, scratch,
          [&](int64_t n, int64_t y, int64_t f, int64_t columns, const Planes& planes) {
            winograd::points_to_pooled(algorithm_, planes, columns, tile_columns(),
                                       bias == nullptr ? nullptr : bias + f, g_.relu, (rows - y) / 2, width,
                                       out.at(n * image_step + y / 2 * out.row + f));
          });
}

bool WinogradConv::covers_image(int64_t y_begin, int64_t y_end) const {
  const int64_t first = g_.window.y.start(y_begin);
  return first <= 0 && first + padded_rows(y_end - y_begin) >= g_.window.y.in;
}

void WinogradConv::add_rows(const float* padded, const Stripe& stripe, int64_t c, int64_t columns,
                            bool overwrite, float* image) const {
  const WindowAxis& x = g_.window.x;
  const int64_t first = g_.window.y.start(stripe.y_begin);
  const int64_t end = std::min(first + padded_rows(stripe.y_end - stripe.y_begin), g_.window.y.in);
  const auto take = [&](int64_t count, const float* from, float* to) {
    overwrite ? static_cast<void>(std::copy_n(from, count, to)) : add(count, to, from, to);
  };
  for (int64_t iy = std::max<int64_t>(0, first); iy < end; ++iy) {
    const float* from = padded + ((iy - first) * padded_width() + x.before) * columns;
    float* to = image + iy * x.in * g_.channels + c;
    if (columns == g_.channels) {
      take(x.in * columns, from, to);
      continue;
    }
    for (int64_t ix = 0; ix < x.in; ++ix, from += columns, to += g_.channels) take(columns, from, to);
  }
}

template <typename ToPoints>
void WinogradConv::add_gradients_of(const Stripe& stripe, std::byte* scratch, const Gradients& to,
                                    const ToPoints& to_points) const {
  const int64_t rows = stripe.y_end - stripe.y_begin;
  const int64_t tiles = stripe.images * tiles_in(rows);
  auto* const padded = reinterpret_cast<float*>(scratch);
  scratch += float_bytes(padded_floats(rows));
  const Planes grads = planes_of(reinterpret_cast<float*>(scratch), tiles, g_.filters);
  scratch += float_bytes(points() * grads.plane);
  auto* const room = reinterpret_cast<float*>(scratch);
  const Planes inputs = planes_of(room, tiles, g_.channels);
  scratch += float_bytes(points() * inputs.plane);
  int64_t tile = 0;
  for (int64_t n = 0; n < stripe.images; ++n) {
    for (int64_t y = 0; y < rows; y += algorithm_.rows, tile += tile_columns()) {
      to_points(n, y, Planes{grads.data + tile * grads.row, grads.plane, grads.row});
    }
  }
  if (to.kernel != nullptr) {
    load_tiles(stripe, to.image, inputs);
    add_kernel_products(tiles, inputs, grads, to);
  }
  if (to.input != nullptr) {
    add_input_gradient(stripe, grads, planes_of(room, tiles, channel_block_), padded, scratch, to);
  }
}

void WinogradConv::add_kernel_products(int64_t tiles, const Planes& inputs, const Planes& grads,
                                       const Gradients& to) const {
  const int64_t plane = kernel_sums_plane();
  const int64_t row = align_floats(g_.filters);
  const int64_t across = algorithm_.points_across();
  // The gradient at one row of points, which is taken back along it while it is in the cache: of size planes
  // there is less to write and read again than of all points.
  float* const line = to.kernel + algorithm_.points_down() * algorithm_.size * plane;
  OuterProducts products;
  products.m = g_.channels;
  products.n = g_.filters;
  products.columns = tiles;
  products.a_column = inputs.row;
  products.b_column = grads.row;
  products.c_row = row;
  for (int64_t p = 0; p < algorithm_.points_down(); ++p) {
    for (int64_t q = 0; q < across; ++q) {
      products.a = inputs.data + (p * across + q) * inputs.plane;
      products.b = grads.data + (p * across + q) * grads.plane;
      products.c = line + q * plane;
      add_outer_products(products);
    }
    winograd::points_to_kernel_sums(algorithm_, {line, plane, row}, g_.channels, !to.overwrite_kernel,
                                    {to.kernel + p * algorithm_.size * plane, plane, row});
  }
}

void WinogradConv::add_input_gradient(const Stripe& stripe, const Planes& grads, const Planes& results,
                                      float* padded, std::byte* workspace, const Gradients& to) const {
  const int64_t rows = stripe.y_end - stripe.y_begin;
  const int64_t tiles = stripe.images * tiles_in(rows);
  for (int64_t c = 0; c < g_.channels; c += channel_block_) {
    const int64_t columns = std::min(channel_block_, g_.channels - c);
    multiply(
        {tiles, columns, g_.filters, grads, results, to.packed + c * g_.filters, backward_plane_, workspace});
    const int64_t row = padded_width() * columns;
    int64_t tile = 0;
    for (int64_t n = 0; n < stripe.images; ++n) {
      std::fill(padded, padded + padded_rows(rows) * row, 0.0F);
      for (int64_t y = 0; y < rows; y += algorithm_.rows, tile += tile_columns()) {
        winograd::points_to_input_gradient(algorithm_,
                                           {results.data + tile * results.row, results.plane, results.row},
                                           columns, tile_columns(), {padded + y * row, row, columns});
      }
      add_rows(padded, stripe, c, columns, to.overwrite_input, to.input + n * g_.image_size());
    }
  }
}

void WinogradConv::add_gradients(const Stripe& stripe, const float* grad, int64_t image_step,
                                 std::byte* scratch, const Gradients& to) const {
  const int64_t line = g_.window.x.out * g_.filters;
  add_gradients_of(stripe, scratch, to, [&](int64_t n, int64_t y, const Planes& planes) {
    winograd::gradient_to_points(algorithm_, {grad + n * image_step + y * line, line, g_.filters}, g_.filters,
                                 tile_columns(), stripe.y_end - stripe.y_begin - y, g_.window.x.out, planes);
  });
}

void WinogradConv::add_pooled_gradients(const Stripe& stripe, const float* grad, const uint8_t* winners,
                                        const Window2& pool, std::byte* scratch, const Gradients& to) const {
  const int64_t line = pool.x.out * g_.filters;
  add_gradients_of(stripe, scratch, to, [&](int64_t n, int64_t y, const Planes& planes) {
    const int64_t at = (n * pool.y.out + (stripe.y_begin + y) / 2) * line;
    winograd::pooled_gradient_to_points(algorithm_, {grad + at, line, g_.filters}, winners + at, g_.filters,
                                        tile_columns(), (stripe.y_end - stripe.y_begin - y) / 2, pool.x.out,
                                        planes);
  });
}

void WinogradConv::finish_kernel_gradient(float* sums, float* grad_kernel) const {
  winograd::sums_to_kernel_gradient(algorithm_, {sums, kernel_sums_plane(), align_floats(g_.filters)},
                                    g_.channels, g_.filters, grad_kernel);
}

}  // namespace nacre
