#include "layers/sparse_kernels.h"

#include <algorithm>
#include <utility>

#include "layers/pool_kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "layers/sparse_kernels.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
// Highway's ops, for the target that foreach_target.h chose.
#include <hwy/highway.h>

#include "engine/vectors-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nacre::sparse {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using nacre::HWY_NAMESPACE::compressed;
using nacre::HWY_NAMESPACE::kLanes;
using nacre::HWY_NAMESPACE::Tag;
using nacre::HWY_NAMESPACE::Vector;

// Sums that stay in registers, beside one for the gradient and one for the image.
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
constexpr int kMostSums = 20;
#else
constexpr int kMostSums = 12;
#endif

/// The patches of some filters, and where the sums of the first go: those of the next are `step` floats on.
struct Patches {
  std::span<const LiveCells> filters;
  const float* image;
  int64_t row;
  float* sums;
  int64_t sums_row;
  int64_t step;
};

/// kRows x kVectors of the sums.
template <int kRows, int kVectors>
void add_block(const Patches& patches) {
  const Tag d;
  const float* rows[kRows];
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) rows[r] = patches.image + r * patches.row;
  float* sums = patches.sums;
  for (const LiveCells& filter : patches.filters) {
    const LiveCells cells = filter;
    Vector sum[kRows][kVectors];
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 32
      for (int v = 0; v < kVectors; ++v) sum[r][v] = hn::LoadU(d, sums + r * patches.sums_row + v * kLanes);
    }
    for (int64_t cell = 0; cell < cells.count; ++cell) {
      const Vector grad = hn::Set(d, cells.grads[cell]);
      const int64_t place = cells.places[cell];
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 32
        for (int v = 0; v < kVectors; ++v) {
          sum[r][v] = hn::MulAdd(grad, hn::LoadU(d, rows[r] + place + v * kLanes), sum[r][v]);
        }
      }
    }
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 32
      for (int v = 0; v < kVectors; ++v) hn::StoreU(sum[r][v], d, sums + r * patches.sums_row + v * kLanes);
    }
    sums += patches.step;
  }
}

using BlockKernel = void (*)(const Patches&);
template <int kRows, size_t... kIndex>
constexpr std::array<BlockKernel, sizeof...(kIndex)> block_kernels(std::index_sequence<kIndex...>) {
  return {&add_block<kRows, static_cast<int>(kIndex) + 1>...};
}
// Three rows at a time suit the common kernel; of others one.
constexpr auto kOneRow = block_kernels<1>(std::make_index_sequence<kMostSums>());
constexpr auto kThreeRows = block_kernels<3>(std::make_index_sequence<kMostSums / 3>());

/// The sum of a list's gradients.
float sum_of(const LiveCells& cells) {
  const Tag d;
  Vector sum = hn::Zero(d);
  nacre::HWY_NAMESPACE::for_each_vector(
      cells.count, [&](const auto& lanes) HWY_ATTR { sum = hn::Add(sum, lanes.load(cells.grads)); });
  return hn::GetLane(hn::SumOfLanes(d, sum));
}

void add_patches_here(std::span<const LiveCells> filters, const float* image, int64_t row,
                      int64_t kernel_rows, int64_t line, float* sums, int64_t sums_row, float* bias) {
  for (const LiveCells& cells : filters) *bias++ += sum_of(cells);
  const int64_t vectors = (line + kLanes - 1) / kLanes;
  const auto three = static_cast<int64_t>(kThreeRows.size());
  for (int64_t ky = 0; ky < kernel_rows;) {
    const int64_t rows = kernel_rows - ky >= 3 && vectors <= three ? 3 : 1;
    const int64_t most = rows == 3 ? three : static_cast<int64_t>(kOneRow.size());
    const int64_t blocks = (vectors + most - 1) / most;
    for (int64_t block = 0; block < blocks; ++block) {
      const int64_t begin = block * vectors / blocks;
      const int64_t width = (block + 1) * vectors / blocks - begin;
      const BlockKernel kernel =
          rows == 3 ? kThreeRows[static_cast<size_t>(width - 1)] : kOneRow[static_cast<size_t>(width - 1)];
      kernel({filters, image + ky * row + begin * kLanes, row, sums + ky * sums_row + begin * kLanes,
              sums_row, kernel_rows * sums_row});
    }
    ky += rows;
  }
}

#if HWY_TARGET != HWY_SCALAR
using nacre::HWY_NAMESPACE::transpose;

/// The lists of kLanes filters from `f` on; as many cells at a time.
void list_filters(const CellBlock& cells, int64_t f, int32_t* places, float* grads, int64_t* counts) {
  const Tag d;
  const hn::RebindToSigned<Tag> di;
  const hn::Rebind<uint8_t, decltype(di)> bytes;
  const auto dead = hn::Set(di, FusedPool::kDead);
  const int64_t capacity = list_capacity(cells.cells);
  const int32_t* const table = cells.offsets->data();
  const bool small = cells.positions <= kLanes;
  const auto offsets = hn::LoadU(di, table);
  for (int64_t cell = 0; cell < cells.cells; cell += kLanes) {
    Vector grad[kLanes];
    hn::Vec<decltype(di)> winner[kLanes];
#pragma GCC unroll 16
    for (int64_t i = 0; i < kLanes; ++i) {
      // Beyond the end the last cell is read again, and left out below.
      const int64_t at = std::min(cell + i, cells.cells - 1) * cells.filters + f;
      grad[i] = hn::LoadU(d, cells.grad + at);
      winner[i] = hn::PromoteTo(di, hn::LoadU(bytes, cells.winners + at));
    }
    transpose(d, grad);
    transpose(di, winner);
    const auto inside = hn::FirstN(di, static_cast<size_t>(std::min(kLanes, cells.cells - cell)));
    const auto bases = hn::LoadU(di, cells.bases + cell);
#pragma GCC unroll 16
    for (int64_t i = 0; i < kLanes; ++i) {
      const auto alive = hn::And(inside, hn::Ne(winner[i], dead));
      const auto offset =
          small ? hn::TableLookupLanes(offsets,
                                       hn::IndicesFromVec(di, hn::And(winner[i], hn::Set(di, kLanes - 1))))
                : hn::GatherIndex(di, table, winner[i]);
      const int64_t to = i * capacity + counts[i];
      hn::StoreU(compressed(di, hn::Add(bases, offset), alive), di, places + to);
      hn::StoreU(compressed(d, grad[i], hn::RebindMask(d, alive)), d, grads + to);
      counts[i] += static_cast<int64_t>(hn::CountTrue(di, alive));
    }
  }
}

#endif

/// The list of one filter.
void list_filter(const CellBlock& cells, int64_t f, int32_t* places, float* grads, int64_t* count) {
  int64_t live = 0;
  for (int64_t cell = 0; cell < cells.cells; ++cell) {
    const uint8_t winner = cells.winners[cell * cells.filters + f];
    // A dead cell is written as well, and then overwritten by the next: no branch that nobody can foresee.
    places[live] = cells.bases[cell] + (*cells.offsets)[winner];
    grads[live] = cells.grad[cell * cells.filters + f];
    live += winner != FusedPool::kDead ? 1 : 0;
  }
  *count = live;
}

void list_live_cells_here(const CellBlock& cells, int32_t* places, float* grads, int64_t* counts) {
  const int64_t capacity = list_capacity(cells.cells);
  std::fill(counts, counts + cells.block, 0);
  int64_t f = 0;
#if HWY_TARGET != HWY_SCALAR
  for (; f + kLanes <= cells.block; f += kLanes) {
    list_filters(cells, f, places + f * capacity, grads + f * capacity, counts + f);
  }
#endif
  for (; f < cells.block; ++f) {
    list_filter(cells, f, places + f * capacity, grads + f * capacity, counts + f);
  }
}

void add_live_gradients_here(const uint8_t* winners, const float* grad, int64_t cells, int64_t filters,
                             float* sums) {
  const Tag d;
  const hn::RebindToSigned<Tag> di;
  const hn::Rebind<uint8_t, decltype(di)> bytes;
  const auto dead = hn::Set(di, FusedPool::kDead);
  int64_t f = 0;
  for (; f + kLanes <= filters; f += kLanes) {
    Vector sum = hn::LoadU(d, sums + f);
    for (int64_t cell = 0; cell < cells; ++cell) {
      const auto winner = hn::PromoteTo(di, hn::LoadU(bytes, winners + cell * filters + f));
      const auto alive = hn::RebindMask(d, hn::Ne(winner, dead));
      sum = hn::Add(sum, hn::IfThenElseZero(alive, hn::LoadU(d, grad + cell * filters + f)));
    }
    hn::StoreU(sum, d, sums + f);
  }
  for (; f < filters; ++f) {
    for (int64_t cell = 0; cell < cells; ++cell) {
      if (winners[cell * filters + f] != FusedPool::kDead) sums[f] += grad[cell * filters + f];
    }
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace nacre::sparse
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace nacre::sparse {

HWY_EXPORT(list_live_cells_here);
HWY_EXPORT(add_patches_here);
HWY_EXPORT(add_live_gradients_here);

void list_live_cells(const CellBlock& cells, int32_t* places, float* grads, int64_t* counts) {
  HWY_DYNAMIC_DISPATCH(list_live_cells_here)(cells, places, grads, counts);
}

void add_patches(std::span<const LiveCells> filters, const float* image, int64_t row, int64_t kernel_rows,
                 int64_t line, float* sums, int64_t sums_row, float* bias) {
  HWY_DYNAMIC_DISPATCH(add_patches_here)
  (filters, image, row, kernel_rows, line, sums, sums_row, bias);
}

void add_live_gradients(const uint8_t* winners, const float* grad, int64_t cells, int64_t filters,
                        float* sums) {
  HWY_DYNAMIC_DISPATCH(add_live_gradients_here)(winners, grad, cells, filters, sums);
}

}  // namespace nacre::sparse
#endif  // HWY_ONCE
