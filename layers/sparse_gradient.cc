#include "layers/sparse_gradient.h"

#include <algorithm>
#include <array>
#include <limits>

#include "engine/tensor.h"
#include "layers/aligned_floats.h"
#include "layers/fetch_ahead.h"
#include "layers/padded_rows.h"
#include "layers/sparse_kernels.h"

namespace nacre {
namespace {

// Cells of a stripe: the rows of the image under them stay in the first-level cache, or little beyond, while
// the filters go by, and a filter's sums are loaded once for all of them.
constexpr int64_t kStripeCells = 48;
constexpr int64_t kStripeCellsOfFew = 96;  // where a pixel is no more than a line of the cache
constexpr int64_t kFewChannels = 16;
// Filters whose lists are worked on at a time, between requests for what comes next.
constexpr int64_t kFiltersTogether = 4;
constexpr int64_t kSlack = 16;  // patches are read in whole vectors

int64_t reach(const WindowAxis& axis, int64_t outputs) {
  return (outputs - 1) * axis.stride + (axis.window - 1) * axis.dilation + 1;
}

size_t bases_bytes(int64_t cells) {
  return align_up(static_cast<size_t>(sparse::list_capacity(cells)) * sizeof(int32_t));
}

/// Of the places or the gradients of one block of filters.
size_t lists_bytes(int64_t cells) {
  return align_up(static_cast<size_t>(sparse::kFilters * sparse::list_capacity(cells)) * sizeof(float));
}

}  // namespace

SparseKernelGradient::SparseKernelGradient(const ConvGeometry& geometry, const FusedPool& pool)
    : g_(geometry), pool_(pool) {
  const int64_t cells = geometry.channels <= kFewChannels ? kStripeCellsOfFew : kStripeCells;
  stripe_rows_ = std::clamp<int64_t>(cells / pool.window.x.out, 1, pool.window.y.out);
}

bool SparseKernelGradient::can(const ConvGeometry& geometry) {
  if (geometry.groups != 1 || geometry.window.x.dilation != 1) return false;
  // Places in the padded image are 32-bit numbers.
  const WindowAxis& y = geometry.window.y;
  const WindowAxis& x = geometry.window.x;
  return reach(y, y.out) <= std::numeric_limits<int32_t>::max() / (reach(x, x.out) * geometry.channels);
}

int64_t SparseKernelGradient::line() const {
  return align_floats(g_.window.x.window * g_.channels);
}

int64_t SparseKernelGradient::sums_floats() const {
  return g_.filters * g_.window.y.window * line();
}

int64_t SparseKernelGradient::padded_width() const {
  return reach(g_.window.x, g_.window.x.out);
}

size_t SparseKernelGradient::scratch_bytes() const {
  const WindowAxis& y = pool_.window.y;
  const int64_t rows = std::min(g_.window.y.out, (stripe_rows_ - 1) * y.stride + y.window);
  const int64_t padded = reach(g_.window.y, rows) * padded_width() * g_.channels + kSlack;
  const int64_t cells = stripe_rows_ * pool_.window.x.out;
  return align_up(static_cast<size_t>(padded) * sizeof(float)) + bases_bytes(cells) + 2 * lists_bytes(cells);
}

void SparseKernelGradient::add(const float* image, const uint8_t* winners, const float* grad,
                               std::byte* scratch, float* sums, float* bias) const {
  const WindowAxis& y = pool_.window.y;
  const WindowAxis& x = pool_.window.x;
  const int64_t width = x.out;
  const int64_t pixel = g_.window.x.stride * g_.channels;
  const int64_t padded_row = padded_width() * g_.channels;
  const int64_t row = g_.window.y.stride * padded_row;
  // From the first cell of a pool's window, which may lie left of the image, to each.
  std::array<int32_t, 256> offsets{};
  for (int64_t cell = 0; cell < pool_.window.cells(); ++cell) {
    offsets[static_cast<size_t>(cell)] =
        static_cast<int32_t>(cell / x.window * row + cell % x.window * pixel);
  }
  for (int64_t begin = 0; begin < y.out; begin += stripe_rows_) {
    const int64_t end = std::min(y.out, begin + stripe_rows_);
    const int64_t y_begin = y.start(begin) + y.first_cell(begin);
    const int64_t y_end = y.start(end - 1) + y.end_cell(end - 1);
    const int64_t padded_rows = reach(g_.window.y, y_end - y_begin);
    auto* const padded = reinterpret_cast<float*>(scratch);
    const int64_t count = (end - begin) * width;
    std::byte* rest =
        scratch + align_up(static_cast<size_t>(padded_rows * padded_row + kSlack) * sizeof(float));
    auto* const bases = reinterpret_cast<int32_t*>(rest);
    auto* const places = reinterpret_cast<int32_t*>(rest + bases_bytes(count));
    auto* const grads = reinterpret_cast<float*>(rest + bases_bytes(count) + lists_bytes(count));
    const int64_t origin = (y.start(begin) - y_begin) * row - x.before * pixel;
    int32_t* base = bases;
    for (int64_t oy = 0; oy < end - begin; ++oy) {
      for (int64_t ox = 0; ox < width; ++ox) {
        *base++ = static_cast<int32_t>(origin + oy * y.stride * row + ox * x.stride * pixel);
      }
    }
    copy_padded_rows(g_, image, g_.window.y.start(y_begin), padded_rows, padded_width(), padded);
    const int64_t capacity = sparse::list_capacity(count);
    // The next stripe, or the next image's first.
    const int64_t image_row = g_.window.x.in * g_.channels;
    const int64_t below = g_.window.y.start(y_begin) + padded_rows;
    FetchAhead next_image(image + below * image_row, stripe_rows_ * y.stride * g_.window.y.stride * image_row,
                          g_.filters);
    FetchAhead next_grad(grad + end * width * g_.filters, stripe_rows_ * width * g_.filters, g_.filters);
    FetchAhead next_winners(winners + end * width * g_.filters, stripe_rows_ * width * g_.filters,
                            g_.filters);
    for (int64_t f = 0; f < g_.filters; f += sparse::kFilters) {
      std::array<int64_t, sparse::kFilters> counts{};
      const int64_t at = begin * width * g_.filters + f;
      sparse::CellBlock cells;
      cells.winners = winners + at;
      cells.grad = grad + at;
      cells.filters = g_.filters;
      cells.block = std::min(sparse::kFilters, g_.filters - f);
      cells.cells = count;
      cells.bases = bases;
      cells.positions = pool_.window.cells();
      cells.offsets = &offsets;
      sparse::list_live_cells(cells, places, grads, counts.data());
      for (int64_t i = 0; i < cells.block; i += kFiltersTogether) {
        std::array<sparse::LiveCells, kFiltersTogether> lists{};
        const int64_t together = std::min(kFiltersTogether, cells.block - i);
        for (int64_t k = 0; k < together; ++k) {
          const int64_t list = (i + k) * capacity;
          lists[static_cast<size_t>(k)] = {places + list, grads + list, counts[static_cast<size_t>(i + k)]};
          next_image.next();
          next_grad.next();
          next_winners.next();
        }
        sparse::add_patches(std::span(lists).first(static_cast<size_t>(together)), padded,
                            g_.window.y.dilation * padded_row, g_.window.y.window,
                            g_.window.x.window * g_.channels, sums + (f + i) * g_.window.y.window * line(),
                            line(), bias + f + i);
      }
    }
  }
}

void SparseKernelGradient::write(const float* sums, int64_t begin, int64_t end, float* grad_kernel) const {
  const int64_t run = g_.window.x.window * g_.channels;
  for (int64_t ky = 0; ky < g_.window.y.window; ++ky) {
    for (int64_t i = 0; i < run; ++i) {
      float* to = grad_kernel + (ky * run + i) * g_.filters;
      for (int64_t f = begin; f < end; ++f) to[f] = sums[(f * g_.window.y.window + ky) * line() + i];
    }
  }
}

}  // namespace nacre
