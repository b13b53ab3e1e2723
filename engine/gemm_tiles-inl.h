// Tiles of products of matrices, compiled once for every instruction set: foreach_target.h flips
// HWY_TARGET_TOGGLE.
#if defined(NACRE_ENGINE_GEMM_TILES_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef NACRE_ENGINE_GEMM_TILES_INL_H
#undef NACRE_ENGINE_GEMM_TILES_INL_H
#else
#define NACRE_ENGINE_GEMM_TILES_INL_H
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <utility>

#include "engine/gemm_blocking.h"
#include "engine/vectors-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nacre::gemm {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

using nacre::HWY_NAMESPACE::kLanes;
using nacre::HWY_NAMESPACE::kTileRows;
using nacre::HWY_NAMESPACE::Tag;
using nacre::HWY_NAMESPACE::Vector;

constexpr int kTileColumns = static_cast<int>(2 * kLanes);
static_assert(kBlockRows % kTileRows == 0 && kTileRows <= kMaxTileRows);
static_assert(kBlockColumns % kTileColumns == 0 && kMaxTileColumns % kTileColumns == 0);

/// What happens to the sums of a tile.
struct Finish {
  float* c;
  int64_t ldc;
  bool add_c;         ///< the sums are added to C
  const float* bias;  ///< [tile columns] to add, or null
  bool relu;
};

HWY_INLINE Vector relu(Vector v) {
  const Vector zero = hn::Zero(Tag());
  return hn::IfThenElse(hn::Lt(v, zero), zero, v);
}

HWY_INLINE Vector finish_vector(Vector sum, const float* c, bool add_c, const float* bias, bool clip) {
  const Tag d;
  if (add_c) sum = hn::Add(hn::LoadU(d, c), sum);
  if (bias != nullptr) sum = hn::Add(sum, hn::LoadU(d, bias));
  return clip ? relu(sum) : sum;
}

/// How the elements of A for one tile lie in memory.
enum class LayoutA {
  kByColumns,  ///< (r, k) at k * ld + r: packed (ld = kTileRows), or a transposed A in place
  kByRows,     ///< (r, k) at r * ld + k: A in place
  kSomeRows,   ///< (r, k) at min(r, rows - 1) * ld + k: the last rows of A, fewer than the tile has
};

/// The elements of A for one tile, at k = 0, 1, ..
template <int kRows, LayoutA kLayout>
struct ColumnsOfA {
  // Registers do not hold the places of 12 rows, but an address may add one or two times a distance to a
  // place.
  static constexpr int kGroup = kLayout == LayoutA::kByRows ? 3 : 1;
  static constexpr int kPlaces = kLayout == LayoutA::kByColumns ? 1 : (kRows + kGroup - 1) / kGroup;
  const float* places[kPlaces];
  int64_t ld;

  HWY_INLINE ColumnsOfA(const float* a, int64_t distance, int64_t rows) : ld(distance) {
#pragma GCC unroll 16
    for (int i = 0; i < kPlaces; ++i) {
      const int64_t row = kLayout == LayoutA::kSomeRows ? std::min<int64_t>(i, rows - 1) : i * kGroup;
      places[i] = a + row * ld;
    }
  }
  HWY_INLINE float operator[](int r) const {
    return kLayout == LayoutA::kByColumns ? places[0][r] : places[r / kGroup][r % kGroup * ld];
  }
  HWY_INLINE void advance() {
#pragma GCC unroll 16
    for (int i = 0; i < kPlaces; ++i) places[i] += kLayout == LayoutA::kByColumns ? ld : 1;
  }
};

/// What is left of GemmArgs::soon.
struct Soon {
  const float* data[2];
  int64_t floats;

  void advance(int64_t count) {
    data[0] += count;
    data[1] += count;
    floats -= count;
  }
};
constexpr int64_t kCacheLine = 16;  // floats

/// The sums of one tile of `kRows` rows and `kVectors` vectors over `depth`. B is a panel,
/// [depth][kTileColumns]. With kFetch, a line of each place of `soon` for every step of depth.
template <int kRows, int kVectors, LayoutA kLayout, bool kFetch = false>
HWY_INLINE void multiply_tile(int64_t depth, const float* HWY_RESTRICT a, int64_t ld, int64_t rows,
                              const float* HWY_RESTRICT b, const Finish& finish, const Soon& soon) {
  const Tag d;
  Vector sum[kRows][kVectors];
  ColumnsOfA<kRows, kLayout> column(a, ld, rows);
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) sum[r][v] = hn::Zero(d);
  }
  for (int64_t k = 0; k < depth; ++k, column.advance()) {
    Vector panel[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) panel[v] = hn::Load(d, b + k * kTileColumns + v * kLanes);
    if (kFetch) {
      // Into the second-level cache: the first is the product's.
      __builtin_prefetch(soon.data[0] + k * kCacheLine, 0, 2);
      __builtin_prefetch(soon.data[1] + k * kCacheLine, 0, 2);
    }
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const Vector factor = hn::Set(d, column[r]);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sum[r][v] = hn::MulAdd(factor, panel[v], sum[r][v]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      float* c = finish.c + r * finish.ldc + v * kLanes;
      const float* bias = finish.bias == nullptr ? nullptr : finish.bias + v * kLanes;
      hn::StoreU(finish_vector(sum[r][v], c, finish.add_c, bias, finish.relu), d, c);
    }
  }
}

template <LayoutA kLayout>
void multiply_some_rows(int64_t depth, const float* a, int64_t ld, int64_t rows, bool one_vector,
                        const float* b, const Finish& finish) {
  const Soon none{};
  if (rows > kTileRows / 2) {
    one_vector ? multiply_tile<kTileRows, 1, kLayout>(depth, a, ld, rows, b, finish, none)
               : multiply_tile<kTileRows, 2, kLayout>(depth, a, ld, rows, b, finish, none);
  } else {
    one_vector ? multiply_tile<kTileRows / 2, 1, kLayout>(depth, a, ld, rows, b, finish, none)
               : multiply_tile<kTileRows / 2, 2, kLayout>(depth, a, ld, rows, b, finish, none);
  }
}

/// The part of A for one tile.
struct TileA {
  const float* data;
  int64_t ld;
  LayoutA layout;
};

/// One block of A.
struct BlockA {
  TileA first;
  int64_t tile_stride;  ///< floats from one tile to the next; of rows in place, from one row
  const float* rest;    ///< a last tile that is not whole, packed; null when it lies where the others do

  [[nodiscard]] TileA tile(int64_t i, int64_t height) const {
    if (height < kTileRows && rest != nullptr) return {rest, kTileRows, LayoutA::kByColumns};
    if (first.layout == LayoutA::kByRows) return {first.data + i * tile_stride, first.ld, first.layout};
    return {first.data + i / kTileRows * tile_stride, first.ld, first.layout};
  }
};

using Tile = void (*)(int64_t, const float*, int64_t, int64_t, const float*, const Finish&, const Soon&);

/// multiply_tile for rows of A in place, of kTileRows / 2, kTileRows / 2 + 1, .. rows.
template <int kVectors, bool kFetch, int... kMore>
constexpr std::array<Tile, sizeof...(kMore)> tiles_by_rows(std::integer_sequence<int, kMore...> /*more*/) {
  return {multiply_tile<kTileRows / 2 + kMore, kVectors, LayoutA::kByRows, kFetch>...};
}

void multiply_at_edge(int64_t depth, const TileA& a, int64_t rows, int64_t columns, const float* b,
                      const Finish& finish) {
  // The kernel works on whole tiles: here on a copy, of which only the part inside C is used.
  HWY_ALIGN float tile[kTileRows * kTileColumns];
  HWY_ALIGN float bias[kTileColumns];
  Finish copy{tile, kTileColumns, finish.add_c, nullptr, finish.relu};
  const size_t bytes = static_cast<size_t>(columns) * sizeof(float);
  if (finish.add_c) {
    std::memset(tile, 0, sizeof(tile));
    for (int64_t r = 0; r < rows; ++r) std::memcpy(tile + r * kTileColumns, finish.c + r * finish.ldc, bytes);
  }
  if (finish.bias != nullptr) {
    std::memset(bias, 0, sizeof(bias));
    std::memcpy(bias, finish.bias, bytes);
    copy.bias = bias;
  }
  const bool one_vector = columns <= kLanes;
  a.layout == LayoutA::kByRows
      ? multiply_some_rows<LayoutA::kSomeRows>(depth, a.data, a.ld, rows, one_vector, b, copy)
      : multiply_some_rows<LayoutA::kByColumns>(depth, a.data, a.ld, rows, one_vector, b, copy);
  for (int64_t r = 0; r < rows; ++r) std::memcpy(finish.c + r * finish.ldc, tile + r * kTileColumns, bytes);
}

/// C[rows, columns] from one block of A and one of B.
void multiply_block(int64_t rows, int64_t columns, int64_t depth, const BlockA& a, const float* b,
                    int64_t panel_stride, const Finish& finish, Soon& soon) {
  constexpr std::make_integer_sequence<int, kTileRows / 2 + 1> kHeights;
  // Of one vector, of two, of two that fetch.
  static constexpr std::array kByRows{tiles_by_rows<1, false>(kHeights), tiles_by_rows<2, false>(kHeights),
                                      tiles_by_rows<2, true>(kHeights)};
  static constexpr std::array kByColumns{Tile{multiply_tile<kTileRows, 1, LayoutA::kByColumns>},
                                         Tile{multiply_tile<kTileRows, 2, LayoutA::kByColumns>},
                                         Tile{multiply_tile<kTileRows, 2, LayoutA::kByColumns, true>}};
  const bool by_rows = a.first.layout == LayoutA::kByRows;
  const int64_t tiles = ceil_div(rows, kTileRows);
  for (int64_t j = 0; j < columns; j += kTileColumns, b += panel_stride) {
    const int64_t width = std::min<int64_t>(kTileColumns, columns - j);
    const bool whole = width % kLanes == 0;
    for (int64_t t = 0; t < tiles; ++t) {
      // Where rows lie as they come, nearly equal tiles take less time than whole ones and a small rest.
      const int64_t i = by_rows ? t * rows / tiles : t * kTileRows;
      const int64_t height = (by_rows ? (t + 1) * rows / tiles : std::min(rows, i + kTileRows)) - i;
      const TileA tile = a.tile(i, height);
      Finish part = finish;
      part.c += i * finish.ldc + j;
      if (part.bias != nullptr) part.bias += j;
      if (!whole || height < (by_rows ? kTileRows / 2 : kTileRows)) {
        multiply_at_edge(depth, tile, height, width, b, part);
        continue;
      }
      const bool fetches = width > kLanes && soon.floats > 0;
      const size_t kind = width <= kLanes ? 0 : fetches ? 2 : 1;
      const Tile multiply =
          by_rows ? kByRows[kind][static_cast<size_t>(height - kTileRows / 2)] : kByColumns[kind];
      multiply(depth, tile.data, tile.ld, height, b, part, soon);
      if (fetches) soon.advance(depth * kCacheLine);
    }
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace nacre::gemm
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
