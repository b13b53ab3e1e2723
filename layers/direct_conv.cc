#include "layers/direct_conv.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <span>
#include <utility>

#include "layers/fetch_ahead.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "layers/direct_conv.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
// Highway's ops, for the target that foreach_target.h chose.
#include <hwy/highway.h>

#include "layers/pool_pairs-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nacre {
namespace HWY_NAMESPACE {
namespace {

// Positions of a tile of two vectors of filters; with one vector 12 fit on every instruction set.
constexpr int kWideTile = kTileRows;
constexpr int kNarrowTile = 12;
constexpr int64_t kPanel = 2 * kLanes;  // filters of one panel, as pack_b lays it out
constexpr int kGroup = 3;               // positions that are addressed from one pointer

/// The cells of a window: rows of floats that lie side by side in the padded rows.
struct Cells {
  int64_t rows;
  int64_t row_step;
  int64_t length;
};

/// One tile: where its sums go and what is done to them.
struct TileOut {
  float* out;
  uint8_t* winners;   ///< of pooled cells; may be null
  int64_t ld;         ///< elements from one position or cell to the next
  int64_t columns;    ///< of the tile's vectors, those inside the output
  const float* bias;  ///< [kPanel], zeros where there is none
  bool relu;
  float most;  ///< what stored sums are clipped to from above
};

/// Where a tile's inputs are.
struct TileIn {
  const float* data;
  int64_t step;      ///< floats from one position to the next
  int64_t row_step;  ///< and from one row of positions to the next
};

/// The sums of kRows x kColumns outputs, of kVectors vectors with D's lanes.
template <class D, int kRows, int kColumns, int kVectors>
HWY_INLINE void sum_tile(const Cells& cells, const TileIn& in, const float* HWY_RESTRICT panel,
                         hn::Vec<D> (&sum)[kRows][kColumns][kVectors]) {
  const D d;
  constexpr auto kWidth = static_cast<int64_t>(hn::MaxLanes(D()));
  constexpr int kGroups = (kColumns + kGroup - 1) / kGroup;
  const int64_t step = in.step;
  const int64_t next_row = cells.row_step - cells.length;
  const float* from[kRows][kGroups];
#pragma GCC unroll 2
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (int p = 0; p < kColumns; ++p) {
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) sum[r][p][v] = hn::Zero(d);
    }
#pragma GCC unroll 4
    for (int i = 0; i < kGroups; ++i) from[r][i] = in.data + r * in.row_step + i * kGroup * step;
  }
  for (int64_t row = cells.rows; row > 0; --row) {
    for (const float* const end = from[0][0] + cells.length; from[0][0] < end; panel += kPanel) {
      hn::Vec<D> weights[kVectors];
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) weights[v] = hn::Load(d, panel + v * kWidth);
#pragma GCC unroll 2
      for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
        for (int p = 0; p < kColumns; ++p) {
          const auto x = hn::Set(d, from[r][p / kGroup][p % kGroup * step]);
#pragma GCC unroll 2
          for (int v = 0; v < kVectors; ++v) sum[r][p][v] = hn::MulAdd(x, weights[v], sum[r][p][v]);
        }
#pragma GCC unroll 4
        for (int i = 0; i < kGroups; ++i) ++from[r][i];
      }
    }
#pragma GCC unroll 2
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (int i = 0; i < kGroups; ++i) from[r][i] += next_row;
    }
  }
}

/// kPositions outputs side by side.
template <int kPositions, int kVectors, class D>
void store_tile(const Cells& cells, const TileIn& in, const float* panel, const TileOut& tile) {
  const D d;
  constexpr auto kWidth = static_cast<int64_t>(hn::MaxLanes(D()));
  hn::Vec<D> sum[1][kPositions][kVectors];
  sum_tile<D>(cells, in, panel, sum);
  const auto least = tile.relu ? hn::Zero(d) : hn::Neg(hn::Inf(d));
  const auto most = hn::Set(d, tile.most);
#pragma GCC unroll 16
  for (int p = 0; p < kPositions; ++p) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      const auto y = hn::Add(sum[0][p][v], hn::Load(d, tile.bias + v * kWidth));
      sum[0][p][v] = clipped(y, least, most);
    }
  }
  // Whole vectors are written to where they belong, others through a mask or, where that is slow, by way of a
  // copy.
  const bool whole = tile.columns >= kVectors * kWidth;
#if HWY_TARGET <= HWY_AVX3
  if (!whole) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      const auto inside = hn::FirstN(d, static_cast<size_t>(std::max<int64_t>(0, tile.columns - v * kWidth)));
#pragma GCC unroll 16
      for (int p = 0; p < kPositions; ++p) {
        hn::BlendedStore(sum[0][p][v], inside, d, tile.out + p * tile.ld + v * kWidth);
      }
    }
    return;
  }
#endif
  HWY_ALIGN float copy[kPositions * kVectors * kLanes];
  float* out = whole ? tile.out : copy;
  const int64_t ld = whole ? tile.ld : kVectors * kWidth;
#pragma GCC unroll 16
  for (int p = 0; p < kPositions; ++p) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) hn::StoreU(sum[0][p][v], d, out + p * ld + v * kWidth);
  }
  if (whole) return;
  for (int p = 0; p < kPositions; ++p) {
    std::memcpy(tile.out + p * tile.ld, copy + p * ld, static_cast<size_t>(tile.columns) * sizeof(float));
  }
}

/// One row of kPairs pooled cells, of 2 x 2 outputs each.
template <int kPairs, int kVectors>
void pool_tile(const Cells& cells, const TileIn& in, const float* panel, const TileOut& tile) {
  Vector sum[2][2 * kPairs][kVectors];
  sum_tile<Tag>(cells, in, panel, sum);
  HWY_ALIGN float copy[kPairs * kVectors * kLanes];
  HWY_ALIGN uint8_t winners[kPairs * kVectors * kLanes];
  const bool whole = tile.columns >= kVectors * kLanes;
  const PooledCells out = whole ? PooledCells{tile.out, tile.winners, 0, tile.ld}
                                : PooledCells{copy, winners, 0, kVectors * kLanes};
#pragma GCC unroll 8
  for (int p = 0; p < kPairs; ++p) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      const Vector bias = hn::Load(Tag(), tile.bias + v * kLanes);
      const Vector four[4] = {hn::Add(sum[0][2 * p][v], bias), hn::Add(sum[0][2 * p + 1][v], bias),
                              hn::Add(sum[1][2 * p][v], bias), hn::Add(sum[1][2 * p + 1][v], bias)};
      pool_pairs(four, tile.relu, out, p * out.pixel + v * kLanes);
    }
  }
  if (whole) return;
  for (int p = 0; p < kPairs; ++p) {
    const auto count = static_cast<size_t>(tile.columns);
    std::memcpy(tile.out + p * tile.ld, copy + p * out.pixel, count * sizeof(float));
    if (tile.winners != nullptr) std::memcpy(tile.winners + p * tile.ld, winners + p * out.pixel, count);
  }
}

using TileKernel = void (*)(const Cells&, const TileIn&, const float*, const TileOut&);

/// Kernels for tiles of 1, 2, .. positions or cells.
template <int kVectors, class D, size_t... kIndex>
constexpr std::array<TileKernel, sizeof...(kIndex)> store_kernels(std::index_sequence<kIndex...>) {
  return {&store_tile<static_cast<int>(kIndex) + 1, kVectors, D>...};
}
template <int kVectors, size_t... kIndex>
constexpr std::array<TileKernel, sizeof...(kIndex)> pool_kernels(std::index_sequence<kIndex...>) {
  return {&pool_tile<static_cast<int>(kIndex) + 1, kVectors>...};
}

/// The kernels of one and of two vectors of filters, and of half a one.
struct TileKernels {
  std::span<const TileKernel> narrow;
  std::span<const TileKernel> wide;  ///< may be none
  std::span<const TileKernel> half;  ///< may be none
};

constexpr auto kNarrowStore = store_kernels<1, Tag>(std::make_index_sequence<kNarrowTile>());
constexpr auto kWideStore = store_kernels<2, Tag>(std::make_index_sequence<kWideTile>());
// A machine with AVX-512 has twice as many multiply-adds a cycle of half its vectors.
constexpr int64_t kHalf = 8;
constexpr auto kHalfStore = store_kernels<1, hn::CappedTag<float, kHalf>>(
    std::make_index_sequence < kLanes == 2 * kHalf ? kNarrowTile : 0 > ());
constexpr auto kNarrowPool = pool_kernels<1>(std::make_index_sequence<kNarrowTile / 4>());
// Of 6 x 2 sums, 4 x 2 would be of use: 12 of one vector are better.
constexpr auto kWidePool =
    pool_kernels<2>(std::make_index_sequence < kWideTile == kNarrowTile ? kWideTile / 4 : 0 > ());

/// Runs over `rows` rows of `count` elements, each of `side` x `side` positions.
void for_each_tile(const ConvGeometry& g, const TileKernels& kernels, const PaddedRows& input, int64_t rows,
                   int64_t count, int64_t side, const float* packed, const float* bias,
                   const PooledCells& out) {
  const Cells cells{g.window.y.window, g.window.y.dilation * input.row_stride,
                    g.window.x.window * g.channels};
  const TileIn in{input.data, g.window.x.stride * g.channels, g.window.y.stride * input.row_stride};
  const float at_most = g.relu6 ? 6.0F : std::numeric_limits<float>::infinity();
  FetchAhead below(input.below, input.below_floats, rows);
  for (int64_t f = 0; f < g.filters;) {
    const bool wide = g.filters - f > kLanes && !kernels.wide.empty();
    const int64_t width = wide ? kPanel : kLanes;
    const int64_t columns = std::min(width, g.filters - f);
    const float* panel = packed + f / kPanel * kPanel * g.patch() + f % kPanel;
    HWY_ALIGN float panel_bias[kPanel] = {};
    if (bias != nullptr) std::memcpy(panel_bias, bias + f, static_cast<size_t>(columns) * sizeof(float));
    const bool half = columns <= kHalf && !kernels.half.empty();
    const std::span<const TileKernel> kernel = wide ? kernels.wide : half ? kernels.half : kernels.narrow;
    const auto most = static_cast<int64_t>(kernel.size());
    // Tiles of nearly equal size: a small rest would leave most of the registers idle.
    const int64_t tiles = (count + most - 1) / most;
    for (int64_t row = 0; row < rows; ++row) {
      below.next();
      const PooledCells to = out.at(row * out.row + f);
      for (int64_t tile = 0; tile < tiles; ++tile) {
        const int64_t begin = tile * count / tiles;
        const int64_t size = (tile + 1) * count / tiles - begin;
        const PooledCells at = to.at(begin * out.pixel);
        kernel[static_cast<size_t>(size - 1)](
            cells, {in.data + side * (row * in.row_step + begin * in.step), in.step, in.row_step}, panel,
            {at.data, at.winners, out.pixel, columns, panel_bias, g.relu, at_most});
      }
    }
    f += width;
  }
}

void direct_conv_rows_here(const ConvGeometry& g, const PaddedRows& input, int64_t rows, const float* packed,
                           const float* bias, float* out) {
  for_each_tile(g, {kNarrowStore, kWideStore, kHalfStore}, input, rows, g.window.x.out, 1, packed, bias,
                {out, nullptr, g.window.x.out * g.filters, g.filters});
}

void direct_conv_pooled_rows_here(const ConvGeometry& g, const PaddedRows& input, int64_t rows, int64_t width,
                                  const float* packed, const float* bias, const PooledCells& out) {
  for_each_tile(g, {kNarrowPool, kWidePool, {}}, input, rows, width, 2, packed, bias, out);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace nacre
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace nacre {

HWY_EXPORT(direct_conv_rows_here);
HWY_EXPORT(direct_conv_pooled_rows_here);

void direct_conv_rows(const ConvGeometry& g, const PaddedRows& input, int64_t rows, const float* packed,
                      const float* bias, float* out) {
  HWY_DYNAMIC_DISPATCH(direct_conv_rows_here)(g, input, rows, packed, bias, out);
}

void direct_conv_pooled_rows(const ConvGeometry& g, const PaddedRows& input, int64_t rows, int64_t width,
                             const float* packed, const float* bias, const PooledCells& out) {
  HWY_DYNAMIC_DISPATCH(direct_conv_pooled_rows_here)(g, input, rows, width, packed, bias, out);
}

}  // namespace nacre
#endif  // HWY_ONCE
