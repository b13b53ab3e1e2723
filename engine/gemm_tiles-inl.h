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
#include <limits>
#include <utility>

#include "engine/gemm.h"
#include "engine/gemm_blocking.h"
#include "engine/vectors-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nacre::gemm {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

using nacre::HWY_NAMESPACE::clipped;
using nacre::HWY_NAMESPACE::compressed;
using nacre::HWY_NAMESPACE::for_each_vector;
using nacre::HWY_NAMESPACE::kCacheLine;
using nacre::HWY_NAMESPACE::kLanes;
using nacre::HWY_NAMESPACE::kTileRows;
using nacre::HWY_NAMESPACE::Part;
using nacre::HWY_NAMESPACE::set;
using nacre::HWY_NAMESPACE::Tag;
using nacre::HWY_NAMESPACE::Vector;
using nacre::HWY_NAMESPACE::Whole;

inline constexpr int kTileColumns = static_cast<int>(2 * kLanes);
static_assert(kBlockRows % kTileRows == 0 && kTileRows <= kMaxTileRows);
static_assert(kBlockColumns % kTileColumns == 0 && kMaxTileColumns % kTileColumns == 0);

/// What happens to the sums of a tile.
struct Finish {
  float* c;
  int64_t ldc;
  bool add_c;         ///< the sums are added to C
  bool plain;         ///< nothing else happens to them
  const float* bias;  ///< [tile columns] to add, or null
  float least, most;  ///< what results are clipped to
};

/// What happens to sums that belong to `c`; in the last block of depth all that the product asks for.
inline Finish finish_of(const GemmArgs& args, float* c, bool first, bool last, int64_t column) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const bool plain = !last || (args.bias == nullptr && !args.relu && args.at_most == kInfinity);
  Finish finish{c, args.ldc, args.accumulate || !first, plain, nullptr, -kInfinity, kInfinity};
  if (plain) return finish;
  if (args.bias != nullptr) finish.bias = args.bias + column;
  if (args.relu) finish.least = 0;
  finish.most = args.at_most;
  return finish;
}

/// How the elements of A for one tile lie in memory.
enum class LayoutA {
  kByColumns,  ///< (r, k) at k * ld + r: packed (ld = kTileRows), or a transposed A in place
  kByRows,     ///< (r, k) at r * ld + k: A in place
  kSomeRows,   ///< (r, k) at min(r, rows - 1) * ld + k: A in place, with fewer rows than the tile
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
  if (finish.add_c) {
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        sum[r][v] = hn::Add(hn::LoadU(d, finish.c + r * finish.ldc + v * kLanes), sum[r][v]);
      }
    }
  }
  if (finish.plain) {
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) hn::StoreU(sum[r][v], d, finish.c + r * finish.ldc + v * kLanes);
    }
    return;
  }
  Vector bias[kVectors];
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) {
    bias[v] = finish.bias == nullptr ? hn::Zero(d) : hn::LoadU(d, finish.bias + v * kLanes);
  }
  const Vector least = set(finish.least);
  const Vector most = set(finish.most);
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      const Vector y = clipped(hn::Add(sum[r][v], bias[v]), least, most);
      hn::StoreU(y, d, finish.c + r * finish.ldc + v * kLanes);
    }
  }
}

/// The part of A for one tile.
struct TileA {
  const float* data;
  int64_t ld;
  LayoutA layout;
};

/// One block of A, of `tiles` tiles of nearly equal height: they take less time than whole ones and a small
/// rest. All have at least half of kTileRows, unless A has fewer rows.
struct BlockA {
  TileA first;
  int64_t rows;
  int64_t row_stride;   ///< floats from one row of A to the next, 0 when tiles are packed
  int64_t tile_stride;  ///< packed: from one tile to the next

  [[nodiscard]] int64_t tiles() const { return ceil_div(rows, kTileRows); }
  [[nodiscard]] int64_t begin(int64_t tile) const { return tile * rows / tiles(); }
  [[nodiscard]] TileA tile(int64_t tile) const {
    return {first.data + begin(tile) * row_stride + tile * tile_stride, first.ld, first.layout};
  }
};

using Tile = void (*)(int64_t, const float*, int64_t, int64_t, const float*, const Finish&, const Soon&);

inline constexpr int kLeastTileRows = kTileRows / 2;

/// multiply_tile for kLeastTileRows, kLeastTileRows + 1, .. rows.
template <int kVectors, LayoutA kLayout, bool kFetch, int... kMore>
constexpr std::array<Tile, sizeof...(kMore)> tiles_of(std::integer_sequence<int, kMore...> /*more*/) {
  return {multiply_tile<kLeastTileRows + kMore, kVectors, kLayout, kFetch>...};
}

/// The kernel for a tile of that many rows.
inline Tile tile_kernel(LayoutA layout, int64_t rows, bool one_vector, bool fetches) {
  constexpr std::make_integer_sequence<int, kTileRows - kLeastTileRows + 1> kHeights;
  constexpr bool kFetch = kLanes > 1;  // without vectors memory is not what a product waits for
  // Of one vector, of two, of two that fetch.
  static constexpr std::array kByRows{tiles_of<1, LayoutA::kByRows, false>(kHeights),
                                      tiles_of<2, LayoutA::kByRows, false>(kHeights),
                                      tiles_of<2, LayoutA::kByRows, kFetch>(kHeights)};
  static constexpr std::array kByColumns{tiles_of<1, LayoutA::kByColumns, false>(kHeights),
                                         tiles_of<2, LayoutA::kByColumns, false>(kHeights),
                                         tiles_of<2, LayoutA::kByColumns, kFetch>(kHeights)};
  static constexpr std::array kSomeRows{Tile{multiply_tile<kLeastTileRows, 1, LayoutA::kSomeRows>},
                                        Tile{multiply_tile<kLeastTileRows, 2, LayoutA::kSomeRows>}};
  if (layout == LayoutA::kByRows && rows < kLeastTileRows) return kSomeRows[one_vector ? 0 : 1];
  const size_t kind = one_vector ? 0 : fetches ? 2 : 1;
  const auto more = static_cast<size_t>(std::max<int64_t>(rows - kLeastTileRows, 0));
  return layout == LayoutA::kByRows ? kByRows[kind][more] : kByColumns[kind][more];
}

/// A tile that reaches over the edge of C: the kernel works on a copy, of which only the part inside is used.
inline void multiply_at_edge(Tile kernel, int64_t depth, const TileA& a, int64_t rows, int64_t columns,
                             const float* b, const Finish& finish) {
  HWY_ALIGN float tile[kTileRows * kTileColumns];
  HWY_ALIGN float bias[kTileColumns];
  Finish copy = finish;
  copy.c = tile;
  copy.ldc = kTileColumns;
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
  kernel(depth, a.data, a.ld, rows, b, copy, Soon{});
  for (int64_t r = 0; r < rows; ++r) std::memcpy(finish.c + r * finish.ldc, tile + r * kTileColumns, bytes);
}

/// C from one block of A and `columns` columns of one of B.
inline void multiply_block(int64_t columns, int64_t depth, const BlockA& a, const float* b,
                           int64_t panel_stride, const Finish& finish, Soon& soon) {
  const int64_t tiles = a.tiles();
  for (int64_t j = 0; j < columns; j += kTileColumns, b += panel_stride) {
    const int64_t width = std::min<int64_t>(kTileColumns, columns - j);
    const bool one_vector = width <= kLanes;
    for (int64_t t = 0; t < tiles; ++t) {
      const int64_t i = a.begin(t);
      const int64_t height = a.begin(t + 1) - i;
      const TileA tile = a.tile(t);
      Finish part = finish;
      part.c += i * finish.ldc + j;
      if (part.bias != nullptr) part.bias += j;
      const bool whole = width % kLanes == 0 && height >= kLeastTileRows;
      const bool fetches = whole && !one_vector && soon.floats > 0;
      const Tile kernel = tile_kernel(tile.layout, height, one_vector, fetches);
      if (!whole) {
        multiply_at_edge(kernel, depth, tile, height, width, b, part);
        continue;
      }
      kernel(depth, tile.data, tile.ld, height, b, part, soon);
      if (fetches) soon.advance(depth * kCacheLine);
    }
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace nacre::gemm
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
