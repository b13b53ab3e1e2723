#include "layers/winograd_conv.h"

#include <algorithm>

#include "engine/gemm.h"
#include "engine/tensor.h"
#include "engine/vector_math.h"
#include "layers/padded_rows.h"

namespace nacre {
namespace {

using winograd::Planes;

// Values of all tiles of a stripe at all points, before and after the products: what the second-level cache
// holds, the kernel flowing by.
constexpr int64_t kCacheFloats = 128 * 1024;
// The kernel is read once for all tiles: they should be many enough to pay for it.
constexpr int64_t kLeastTiles = 16;
// Filters of one round: a multiple of every panel's width.
constexpr int64_t kColumnBlock = 64;
// Planes a power of two apart would fall into the same sets of the caches.
constexpr int64_t kPlaneGap = 16;
// input_to_points reads whole vectors.
constexpr int64_t kSlack = 16;

constexpr int64_t round_up_16(int64_t count) {
  return (count + 15) / 16 * 16;
}

Planes planes_of(float* data, int64_t tiles, int64_t channels) {
  const int64_t row = round_up_16(channels);
  return {data, tiles * row + kPlaneGap, row};
}

size_t float_bytes(int64_t count) {
  return align_up(static_cast<size_t>(count) * sizeof(float));
}

}  // namespace

WinogradConv::WinogradConv(const ConvGeometry& geometry)
    : g_(geometry),
      filter_block_(std::min(kColumnBlock, geometry.filters)),
      channel_block_(std::min(kColumnBlock, geometry.channels)) {
  const int64_t per_tile = points() * (round_up_16(g_.channels) + round_up_16(filter_block_));
  good_tiles_ = std::max(kCacheFloats / per_tile, kLeastTiles);
  forward_plane_ = static_cast<int64_t>(packed_b_floats(g_.channels, g_.filters)) + kPlaneGap;
  backward_plane_ = static_cast<int64_t>(packed_b_floats(g_.filters, g_.channels)) + kPlaneGap;
}

int64_t WinogradConv::tiles_in(int64_t rows) const {
  return (rows + 3) / 4 * tile_columns();
}

int64_t WinogradConv::kernel_points_plane() const {
  return g_.channels * round_up_16(g_.filters) + kPlaneGap;
}

int64_t WinogradConv::padded_floats(int64_t rows) const {
  return ((rows + 3) / 4 * 4 + size() - 1) * padded_width() * g_.channels + kSlack;
}

void WinogradConv::pack_forward(const float* kernel, int64_t begin, int64_t end, float* packed) const {
  winograd::kernel_to_points(size(), kernel, g_.channels, g_.filters, begin, end,
                             {packed, forward_plane_, 0});
}

void WinogradConv::transform_kernel(const float* kernel, int64_t begin, int64_t end, float* points) const {
  winograd::kernel_to_points(size(), kernel, g_.channels, g_.filters, begin, end,
                             {points, kernel_points_plane(), round_up_16(g_.filters)});
}

void WinogradConv::pack_backward(const float* points, int64_t point, float* packed) const {
  pack_b(g_.filters, g_.channels, points + point * kernel_points_plane(), round_up_16(g_.filters), true,
         packed + point * backward_plane_);
}

size_t WinogradConv::forward_scratch_bytes(int64_t images, int64_t rows) const {
  const int64_t tiles = images * tiles_in(rows);
  return float_bytes(padded_floats(rows)) +
         float_bytes(points() * planes_of(nullptr, tiles, g_.channels).plane) +
         float_bytes(points() * planes_of(nullptr, tiles, filter_block_).plane) +
         gemm_workspace_bytes(tiles, filter_block_, g_.channels);
}

size_t WinogradConv::backward_scratch_bytes(int64_t images, int64_t rows) const {
  const int64_t tiles = images * tiles_in(rows);
  return float_bytes(padded_floats(rows)) +
         float_bytes(points() * planes_of(nullptr, tiles, g_.filters).plane) +
         float_bytes(points() * planes_of(nullptr, tiles, channel_block_).plane) +
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
    GemmArgs product;
    product.m = products.tiles;
    product.n = products.columns;
    product.k = products.depth;
    product.a = products.from.data + point * products.from.plane;
    product.lda = products.from.row;
    product.c = products.to.data + point * products.to.plane;
    product.ldc = products.to.row;
    sgemm_packed_b(product, products.packed + point * products.packed_plane, products.workspace);
  }
}

void WinogradConv::load_tiles(const float* image, int64_t images, int64_t y_begin, int64_t y_end,
                              float* padded, const Planes& planes) const {
  const int64_t row = padded_width() * g_.channels;
  const int64_t tile_rows = (y_end - y_begin + 3) / 4;
  int64_t tile = 0;
  for (int64_t n = 0; n < images; ++n) {
    copy_padded_rows(g_, image + n * g_.image_size(), g_.window.y.start(y_begin), tile_rows * 4 + size() - 1,
                     padded_width(), padded);
    for (int64_t i = 0; i < tile_rows; ++i, tile += tile_columns()) {
      winograd::input_to_points(size(), {padded + i * 4 * row, row, g_.channels}, g_.channels, tile_columns(),
                                {planes.data + tile * planes.row, planes.plane, planes.row});
    }
  }
}

void WinogradConv::sums(const float* image, int64_t images, int64_t y_begin, int64_t y_end,
                        const float* packed, const float* bias, std::byte* scratch, float* out,
                        int64_t image_step) const {
  const int64_t rows = y_end - y_begin;
  const int64_t tiles = images * tiles_in(rows);
  const int64_t line = g_.window.x.out * g_.filters;
  auto* const padded = reinterpret_cast<float*>(scratch);
  scratch += float_bytes(padded_floats(rows));
  const Planes from = planes_of(reinterpret_cast<float*>(scratch), tiles, g_.channels);
  scratch += float_bytes(points() * from.plane);
  const Planes to = planes_of(reinterpret_cast<float*>(scratch), tiles, filter_block_);
  scratch += float_bytes(points() * to.plane);
  load_tiles(image, images, y_begin, y_end, padded, from);
  for (int64_t f = 0; f < g_.filters; f += filter_block_) {
    const int64_t columns = std::min(filter_block_, g_.filters - f);
    multiply({tiles, columns, g_.channels, from, to, packed + f * g_.channels, forward_plane_, scratch});
    int64_t tile = 0;
    for (int64_t n = 0; n < images; ++n) {
      for (int64_t y = 0; y < rows; y += 4, tile += tile_columns()) {
        winograd::points_to_output(size(), {to.data + tile * to.row, to.plane, to.row}, columns,
                                   tile_columns(), bias == nullptr ? nullptr : bias + f, g_.relu, rows - y,
                                   g_.window.x.out, {out + n * image_step + y * line + f, line, g_.filters});
      }
    }
  }
}

void WinogradConv::add_rows(const float* padded, int64_t y_begin, int64_t rows, int64_t c, int64_t columns,
                            float* image) const {
  const WindowAxis& x = g_.window.x;
  const int64_t first = g_.window.y.start(y_begin);
  for (int64_t iy = std::max<int64_t>(0, first); iy < std::min(first + rows, g_.window.y.in); ++iy) {
    const float* from = padded + ((iy - first) * padded_width() + x.before) * columns;
    float* to = image + iy * x.in * g_.channels + c;
    if (columns == g_.channels) {
      add(x.in * columns, to, from, to);
      continue;
    }
    for (int64_t ix = 0; ix < x.in; ++ix, from += columns, to += g_.channels) add(columns, to, from, to);
  }
}

void WinogradConv::add_input_gradient(const float* grad, int64_t image_step, int64_t images, int64_t y_begin,
                                      int64_t y_end, const float* packed, std::byte* scratch,
                                      float* grad_image) const {
  const int64_t rows = y_end - y_begin;
  const int64_t tiles = images * tiles_in(rows);
  const int64_t line = g_.window.x.out * g_.filters;
  const int64_t padded_rows = (rows + 3) / 4 * 4 + size() - 1;
  auto* const padded = reinterpret_cast<float*>(scratch);
  scratch += float_bytes(padded_floats(rows));
  const Planes from = planes_of(reinterpret_cast<float*>(scratch), tiles, g_.filters);
  scratch += float_bytes(points() * from.plane);
  const Planes to = planes_of(reinterpret_cast<float*>(scratch), tiles, channel_block_);
  scratch += float_bytes(points() * to.plane);
  int64_t tile = 0;
  for (int64_t n = 0; n < images; ++n) {
    for (int64_t y = 0; y < rows; y += 4, tile += tile_columns()) {
      winograd::gradient_to_points(size(), {grad + n * image_step + y * line, line, g_.filters}, g_.filters,
                                   tile_columns(), rows - y, g_.window.x.out,
                                   {from.data + tile * from.row, from.plane, from.row});
    }
  }
  for (int64_t c = 0; c < g_.channels; c += channel_block_) {
    const int64_t columns = std::min(channel_block_, g_.channels - c);
    multiply({tiles, columns, g_.filters, from, to, packed + c * g_.filters, backward_plane_, scratch});
    const int64_t row = padded_width() * columns;
    tile = 0;
    for (int64_t n = 0; n < images; ++n) {
      std::fill(padded, padded + padded_rows * row, 0.0F);
      for (int64_t y = 0; y < rows; y += 4, tile += tile_columns()) {
        winograd::points_to_input_gradient(size(), {to.data + tile * to.row, to.plane, to.row}, columns,
                                           tile_columns(), {padded + y * row, row, columns});
      }
      add_rows(padded, y_begin, padded_rows, c, columns, grad_image + n * g_.image_size());
    }
  }
}

}  // namespace nacre
