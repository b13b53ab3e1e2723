#include "layers/winograd_few.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "layers/aligned_floats.h"
#include "layers/fetch_ahead.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "layers/winograd_few.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
// Highway's ops, for the target that foreach_target.h chose.
#include <hwy/highway.h>

#include "layers/pool_pairs-inl.h"
#include "layers/winograd_transforms-inl.h"

#ifndef NACRE_LAYERS_WINOGRAD_FEW_SIZES
#define NACRE_LAYERS_WINOGRAD_FEW_SIZES
namespace nacre::winograd::few {

using M = Matrices<4, 3>;
constexpr int kPoints = M::kPoints;
constexpr int kTile = M::kTile;
// Tiles that are worked on at a time: all there is of them fits into the first-level cache.
constexpr int64_t kTogether = 8;
constexpr int64_t kColumns = kTogether * kTile + kPoints - kTile;
// A tile's channels at a point, rounded up.
constexpr int64_t kPixel = 4;
constexpr int64_t kPlane = kTogether * kPixel;
// Floats of a row of the image under those tiles, with some before it, for what lies left of the image, and
// some that are read behind it.
constexpr int64_t kMargin = 16;
constexpr int64_t kRow = align_floats(kColumns * kPixel) + 2 * kMargin;
// Vectors of the rows of one tile's sums.
constexpr int64_t kRows = kPoints * kTile;
constexpr int64_t kMostLanes = 16;

// A row that is padding.
alignas(64) constexpr float kZeros[kRow] = {};

/// What tiles are on the way to their sums.
struct Room {
  alignas(64) float rows[kPoints * kRow];                  ///< of the image, at the points down their columns
  alignas(64) float points[kPoints * kPoints * kPlane];    ///< tiles at all points
  alignas(64) float sums[kTogether * kRows * kMostLanes];  ///< taken back along the rows
};

/// Where the sums of a row of tiles go: to pixels or cells, of which `height` x `width` are inside.
struct Output {
  const RowOfFew* row;
  int64_t height;
  int64_t width;
  Pixels<float> pixels;
  PooledCells pooled;
};

/// Neighbouring tiles and a vector of filters, of which `filters` exist.
struct Group {
  const float* sums;  ///< of the first tile, taken back along the rows
  const float* bias;
  int64_t tile;
  int64_t tiles;
  int64_t f;
  int64_t filters;
  FetchAhead* below;
};

}  // namespace nacre::winograd::few
#endif

HWY_BEFORE_NAMESPACE();
namespace nacre::winograd {
namespace HWY_NAMESPACE {
namespace {

using few::Group;
using few::kColumns;
using few::kMargin;
using few::kPixel;
using few::kPlane;
using few::kPoints;
using few::kRow;
using few::kRows;
using few::kTile;
using few::kTogether;
using few::M;
using few::Output;
using few::Room;
using nacre::HWY_NAMESPACE::ask_for_cells;
using nacre::HWY_NAMESPACE::pool_pairs;

/// The image under the tiles from column `x` on, at the points down its columns. Returns where that is.
const float* rows_to_points(const RowOfFew& row, int64_t x, float* rows) {
  const TilesOfImage& from = row.from;
  const int64_t begin = std::clamp<int64_t>(x, 0, from.width);
  const int64_t end = std::clamp<int64_t>(x + kColumns, 0, from.width);
  const float* lines[kPoints];
  for (int64_t i = 0; i < kPoints; ++i) {
    const int64_t y = from.y + i;
    lines[i] = y < 0 || y >= from.height ? few::kZeros : from.image + (y * from.width + begin) * row.channels;
  }
  float* const to = rows + kMargin;
  const int64_t line = (end - begin) * row.channels;
  nacre::HWY_NAMESPACE::for_each_vector(line, [&](const auto& lanes) HWY_ATTR {
    Vector column[kPoints];
    Vector points[kPoints];
#pragma GCC unroll 6
    for (int i = 0; i < kPoints; ++i) column[i] = lanes.load(lines[i]);
    to_points<InputMatrix<M>>(column, points);
#pragma GCC unroll 6
    for (int p = 0; p < kPoints; ++p) lanes.store(points[p], to + p * kRow);
  });
  const int64_t left = (begin - x) * row.channels;
  const int64_t right = kColumns * row.channels - left - line;
  for (int64_t p = 0; left + right > 0 && p < kPoints; ++p) {
    float* const first = to + p * kRow;
    std::fill(first - left, first, 0.0F);
    std::fill(first + line, first + line + right, 0.0F);
  }
  return to - left;
}

// Pixels in a vector. Of two, AVX-512 loads and stores more in a cycle than of four.
using Pixel = hn::CappedTag<float, 2 * kPixel>;
constexpr int64_t kLanePixels = static_cast<int64_t>(hn::MaxLanes(Pixel()));
constexpr int64_t kPixels = std::max<int64_t>(1, kLanePixels / kPixel);

/// The same pixel of neighbouring tiles.
HWY_INLINE hn::Vec<Pixel> load_pixels(const float* from, [[maybe_unused]] int64_t step) {
  const Pixel d;
#if HWY_TARGET == HWY_SCALAR
  return hn::LoadU(d, from);
#else
  if (kPixels == 1) return hn::LoadU(d, from);
  return hn::ConcatUpperLower(d, hn::LoadDup128(d, from + step), hn::LoadDup128(d, from));
#endif
}

/// Tiles, whose rows are at the points already, to all points.
void tiles_to_points(const float* rows, int64_t channels, int64_t tiles, float* points) {
  for (int64_t tile = 0; tile < tiles; tile += kPixels) {
    const float* from = rows + tile * kTile * channels;
    // Beyond the last tile, it again.
    const int64_t step = tile + 1 < tiles ? kTile * channels : 0;
    float* to = points + tile * kPixel;
    for (int p = 0; p < kPoints; ++p, from += kRow, to += kPoints * kPlane) {
      // One, or as many as a pixel has.
      for (int64_t c = 0; c < kPixel; c += kLanePixels) {
        hn::Vec<Pixel> x[kPoints];
        hn::Vec<Pixel> at[kPoints];
#pragma GCC unroll 6
        for (int k = 0; k < kPoints; ++k) x[k] = load_pixels(from + k * channels + c, step);
        to_points<InputMatrix<M>>(x, at);
#pragma GCC unroll 6
        for (int q = 0; q < kPoints; ++q) hn::StoreU(at[q], Pixel(), to + q * kPlane + c);
      }
    }
  }
}

/// The products of tiles at the points with a vector of filters, taken back along the rows. The kernel at the
/// points of a row stays in registers.
template <int kChannels>
void sum_rows(const float* points, int64_t tiles, const float* kernel, int64_t kernel_plane, float* sums) {
  const Tag d;
  constexpr int64_t kPanel = 2 * kLanes;
  for (int p = 0; p < kPoints; ++p, points += kPoints * kPlane, sums += kTile * kLanes) {
    Vector factors[kPoints][kChannels];
#pragma GCC unroll 6
    for (int q = 0; q < kPoints; ++q, kernel += kernel_plane) {
#pragma GCC unroll 4
      for (int c = 0; c < kChannels; ++c) factors[q][c] = hn::Load(d, kernel + c * kPanel);
    }
    for (int64_t tile = 0; tile < tiles; ++tile) {
      const float* x = points + tile * kPixel;
      Vector products[kPoints];
      Vector row[kTile];
#pragma GCC unroll 6
      for (int q = 0; q < kPoints; ++q) {
        products[q] = hn::Mul(hn::Set(d, x[q * kPlane]), factors[q][0]);
#pragma GCC unroll 4
        for (int c = 1; c < kChannels; ++c) {
          products[q] = hn::MulAdd(hn::Set(d, x[q * kPlane + c]), factors[q][c], products[q]);
        }
      }
      from_points<OutputMatrix<M>>(products, row);
#pragma GCC unroll 4
      for (int j = 0; j < kTile; ++j) hn::Store(row[j], d, sums + tile * kRows * kLanes + j * kLanes);
    }
  }
}

/// The powers of the two pairs of points, in registers: as constants the compiler would load each of them
/// from memory every time it is used, which takes as long as a multiply-add.
struct Powers {
  Vector of[kTile][2];

  HWY_INLINE Powers() {
    for (int i = 1; i < kTile; ++i) {
      for (int pair = 0; pair < 2; ++pair) {
        const volatile auto power = static_cast<float>(M::output(1 + 2 * pair, i));
        of[i][pair] = hn::Set(Tag(), power);
      }
    }
  }
};

/// take(sums, j) takes columns j and j + 1 of a tile's sums with their bias.
template <typename Take>
HWY_INLINE void for_column_pairs(const float* rows, const Powers& powers, Vector bias, const Take& take) {
  const auto power = [&](int i, int pair) HWY_ATTR { return powers.of[i][pair]; };
  for (int begin = 0; begin < kTile; begin += 2, rows += 2 * kLanes) {
    Vector sums[kTile][2];
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j) {
      const auto point = [&](int p) HWY_ATTR { return hn::Load(Tag(), rows + (p * kTile + j) * kLanes); };
      Vector even[2];
      Vector odd[2];
#pragma GCC unroll 2
      for (int pair = 0; pair < 2; ++pair) {
        const Vector at = point(1 + 2 * pair);
        const Vector opposite = point(2 + 2 * pair);
        even[pair] = hn::Add(at, opposite);
        odd[pair] = hn::Sub(at, opposite);
      }
      sums[0][j] = hn::Add(hn::Add(point(0), bias), hn::Add(even[0], even[1]));
      sums[1][j] = hn::MulAdd(power(1, 1), odd[1], hn::MulAdd(power(1, 0), odd[0], bias));
      sums[2][j] = hn::MulAdd(power(2, 1), even[1], hn::MulAdd(power(2, 0), even[0], bias));
      const Vector last = hn::Add(point(kPoints - 1), bias);
      sums[3][j] = hn::MulAdd(power(3, 1), odd[1], hn::MulAdd(power(3, 0), odd[0], last));
    }
    take(sums, begin);
  }
}

void store_tiles(const Output& to, const Group& group) {
  const Tag d;
  const Powers powers;
  const Pixels<float>& pixels = to.pixels;
  const Vector bias = hn::Load(d, group.bias);
  const Vector least = to.row->relu ? hn::Zero(d) : hn::Neg(hn::Inf(d));
  for (int64_t t = 0; t < group.tiles; ++t) {
    group.below->next();
    const int64_t column = (group.tile + t) * kTile;
    const int64_t columns = std::min<int64_t>(kTile, to.width - column);
    // Whole tiles are written to where they belong, others by way of a copy.
    HWY_ALIGN float copy[kTile * kTile * kLanes];
    const bool whole = to.height >= kTile && columns == kTile && group.filters == kLanes;
    float* const out = pixels.data + column * pixels.pixel + group.f;
    const Pixels<float> at =
        whole ? Pixels<float>{out, pixels.row, pixels.pixel} : Pixels<float>{copy, kTile * kLanes, kLanes};
    for_column_pairs(group.sums + t * kRows * kLanes, powers, bias,
                     [&](const Vector(&sums)[kTile][2], int j) HWY_ATTR {
#pragma GCC unroll 8
                       for (int i = 0; i < 2 * kTile; ++i) {
                         const Vector y = sums[i / 2][i % 2];
                         // NaN compares false, and stays.
                         hn::StoreU(hn::IfThenElse(hn::Lt(y, least), least, y), d,
                                    at.data + i / 2 * at.row + (j + i % 2) * at.pixel);
                       }
                     });
    if (whole) continue;
    copy_part(at, std::min<int64_t>(kTile, to.height), columns, group.filters,
              {out, pixels.row, pixels.pixel});
  }
}

void pool_tiles(const Output& to, const Group& group) {
  constexpr int64_t kCells = kTile / 2;
  const Powers powers;
  const PooledCells& pooled = to.pooled;
  const Vector bias = hn::Load(Tag(), group.bias);
  const bool relu = to.row->relu;
  for (int64_t t = 0; t < group.tiles; ++t) {
    group.below->next();
    const int64_t column = (group.tile + t) * kCells;
    const int64_t columns = std::min(kCells, to.width - column);
    HWY_ALIGN float copy[kCells * kCells * kLanes];
    HWY_ALIGN uint8_t winners[kCells * kCells * kLanes];
    const bool whole = to.height >= kCells && columns == kCells && group.filters == kLanes;
    const PooledCells out = pooled.at(column * pooled.pixel + group.f);
    ask_for_cells<kCells, kCells>(out.at(kCells * out.row));
    const PooledCells at = whole ? out : out.in(copy, winners, kCells * kLanes, kLanes);
    for_column_pairs(
        group.sums + t * kRows * kLanes, powers, bias, [&](const Vector(&sums)[kTile][2], int j) HWY_ATTR {
#pragma GCC unroll 2
          for (int i = 0; i < kCells; ++i) {
            const Vector four[4] = {sums[2 * i][0], sums[2 * i][1], sums[2 * i + 1][0], sums[2 * i + 1][1]};
            pool_pairs(four, relu, at, i * at.row + j / 2 * at.pixel);
          }
        });
    if (whole) continue;
    copy_cells(at, std::min(kCells, to.height), columns, group.filters, out);
  }
}

void sum_tiles_here(const Output& to) {
  constexpr int64_t kPanel = 2 * kLanes;
  constexpr std::array kSumRows{sum_rows<2>, sum_rows<3>, sum_rows<4>};
  const RowOfFew& row = *to.row;
  const TilesOfImage& from = row.from;
  const int64_t line = from.width * row.channels;
  const int64_t vectors = (row.filters + kLanes - 1) / kLanes;
  FetchAhead below(from.image + (from.y + kPoints) * line, kTile * line, row.tiles * vectors);
  Room room;
  // The last pixel is read in whole.
  std::fill(std::begin(room.rows), std::end(room.rows), 0.0F);
  HWY_ALIGN float bias[kLanes] = {};
  const int64_t parts = (row.tiles + kTogether - 1) / kTogether;
  for (int64_t part = 0; part < parts; ++part) {
    const int64_t begin = part * row.tiles / parts;
    const int64_t tiles = (part + 1) * row.tiles / parts - begin;
    const float* const rows = rows_to_points(row, from.x + begin * kTile, room.rows);
    tiles_to_points(rows, row.channels, tiles, room.points);
    for (int64_t f = 0; f < row.filters; f += kLanes) {
      const int64_t filters = std::min(kLanes, row.filters - f);
      const float* const kernel = row.packed + f / kPanel * kPanel * row.channels + f % kPanel;
      kSumRows[static_cast<size_t>(row.channels - kLeastFew)](room.points, tiles, kernel, row.packed_plane,
                                                              room.sums);
      if (row.bias != nullptr) std::copy_n(row.bias + f, filters, bias);
      const Group group{room.sums, bias, begin, tiles, f, filters, &below};
      to.pooled.data != nullptr ? pool_tiles(to, group) : store_tiles(to, group);
    }
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace nacre::winograd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace nacre::winograd {

HWY_EXPORT(sum_tiles_here);

void few_to_output(const RowOfFew& row, int64_t height, int64_t width, const Pixels<float>& pixels) {
  HWY_DYNAMIC_DISPATCH(sum_tiles_here)({&row, height, width, pixels, {}});
}

void few_to_pooled(const RowOfFew& row, int64_t height, int64_t width, const PooledCells& pooled) {
  HWY_DYNAMIC_DISPATCH(sum_tiles_here)({&row, height, width, {}, pooled});
}

}  // namespace nacre::winograd
#endif  // HWY_ONCE
