#include "layers/direct_conv.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "layers/direct_conv.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
// Highway's ops, for the target that foreach_target.h chose.
#include <hwy/highway.h>

#include "engine/vectors-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nacre {
namespace HWY_NAMESPACE {
namespace {

// Positions of a tile of two vectors of filters: 32 registers hold 12 x 2 sums, 16 hold 6 x 2. With one
// vector 12 fit in both.
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
constexpr int kWideTile = 12;
#else
constexpr int kWideTile = 6;
#endif
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
  int64_t ld;         ///< floats from one position to the next
  int64_t columns;    ///< of the tile's vectors, those inside the output
  const float* bias;  ///< [kPanel], zeros where there is none
  bool relu;
};

/// The sums of kPositions outputs side by side, `step` floats apart in the input.
template <int kPositions, int kVectors>
void tile_sums(const Cells& cells, const float* input, int64_t step, const float* HWY_RESTRICT panel,
               const TileOut& tile) {
  const Tag d;
  constexpr int kGroups = (kPositions + kGroup - 1) / kGroup;
  Vector sum[kPositions][kVectors];
#pragma GCC unroll 16
  for (int p = 0; p < kPositions; ++p) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) sum[p][v] = hn::Zero(d);
  }
  const int64_t next_row = cells.row_step - cells.length;
  const float* from[kGroups];
#pragma GCC unroll 4
  for (int i = 0; i < kGroups; ++i) from[i] = input + i * kGroup * step;
  for (int64_t row = cells.rows; row > 0; --row) {
    for (const float* const end = from[0] + cells.length; from[0] < end; panel += kPanel) {
      Vector weights[kVectors];
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) weights[v] = hn::Load(d, panel + v * kLanes);
#pragma GCC unroll 16
      for (int p = 0; p < kPositions; ++p) {
        const Vector x = hn::Set(d, from[p / kGroup][p % kGroup * step]);
#pragma GCC unroll 2
        for (int v = 0; v < kVectors; ++v) sum[p][v] = hn::MulAdd(x, weights[v], sum[p][v]);
      }
#pragma GCC unroll 4
      for (int i = 0; i < kGroups; ++i) ++from[i];
    }
#pragma GCC unroll 4
    for (int i = 0; i < kGroups; ++i) from[i] += next_row;
  }
  // Whole vectors are written to where they belong, others by way of a copy.
  HWY_ALIGN float copy[kPositions * kVectors * kLanes];
  const bool whole = tile.columns >= kVectors * kLanes;
  float* out = whole ? tile.out : copy;
  const int64_t ld = whole ? tile.ld : kVectors * kLanes;
  const Vector least = tile.relu ? hn::Zero(d) : hn::Neg(hn::Inf(d));
#pragma GCC unroll 16
  for (int p = 0; p < kPositions; ++p) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      const Vector y = hn::Add(sum[p][v], hn::Load(d, tile.bias + v * kLanes));
      // NaN compares false, and stays.
      hn::StoreU(hn::IfThenElse(hn::Lt(y, least), least, y), d, out + p * ld + v * kLanes);
    }
  }
  if (whole) return;
  for (int p = 0; p < kPositions; ++p) {
    std::memcpy(tile.out + p * tile.ld, copy + p * ld, static_cast<size_t>(tile.columns) * sizeof(float));
  }
}

using TileKernel = void (*)(const Cells&, const float*, int64_t, const float*, const TileOut&);

/// Kernels for 1 .. positions.
template <int kVectors, size_t... kIndex>
constexpr std::array<TileKernel, sizeof...(kIndex)> tile_kernels(std::index_sequence<kIndex...>) {
  return {&tile_sums<static_cast<int>(kIndex) + 1, kVectors>...};
}
constexpr auto kWideKernels = tile_kernels<2>(std::make_index_sequence<kWideTile>());
constexpr auto kNarrowKernels = tile_kernels<1>(std::make_index_sequence<kNarrowTile>());

void direct_conv_rows_here(const ConvGeometry& g, const PaddedRows& input, int64_t rows, const float* packed,
                           const float* bias, float* out) {
  const WindowAxis& x = g.window.x;
  const WindowAxis& y = g.window.y;
  const int64_t filters = g.filters;
  const Cells cells{y.window, y.dilation * input.row_stride, x.window * g.channels};
  const int64_t step = x.stride * g.channels;
  for (int64_t f = 0; f < filters; f += kPanel, packed += g.patch() * kPanel) {
    const int64_t columns = std::min(kPanel, filters - f);
    HWY_ALIGN float panel_bias[kPanel] = {};
    if (bias != nullptr) std::memcpy(panel_bias, bias + f, static_cast<size_t>(columns) * sizeof(float));
    const bool wide = filters - f > kLanes;
    const TileKernel* kernels = wide ? kWideKernels.data() : kNarrowKernels.data();
    const int64_t most = wide ? kWideTile : kNarrowTile;
    // Tiles of nearly equal size: a small rest would leave most of the registers idle.
    const int64_t tiles = (x.out + most - 1) / most;
    for (int64_t row = 0; row < rows; ++row) {
      const float* from = input.data + row * y.stride * input.row_stride;
      float* to = out + row * x.out * g.filters + f;
      for (int64_t tile = 0; tile < tiles; ++tile) {
        const int64_t begin = tile * x.out / tiles;
        const int64_t count = (tile + 1) * x.out / tiles - begin;
        kernels[count - 1](cells, from + begin * step, step, packed,
                           {to + begin * g.filters, g.filters, columns, panel_bias, g.relu});
      }
    }
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace nacre
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace nacre {

HWY_EXPORT(direct_conv_rows_here);

void direct_conv_rows(const ConvGeometry& g, const PaddedRows& input, int64_t rows, const float* packed,
                      const float* bias, float* out) {
  HWY_DYNAMIC_DISPATCH(direct_conv_rows_here)(g, input, rows, packed, bias, out);
}

}  // namespace nacre
#endif  // HWY_ONCE
