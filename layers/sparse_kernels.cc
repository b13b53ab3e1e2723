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
using nacre::HWY_NAMESPACE::kLanes;
using nacre::HWY_NAMESPACE::Tag;
using nacre::HWY_NAMESPACE::Vector;

// Sums that stay in registers, beside one for the gradient and one for the image.
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
constexpr int kMostSums = 20;
#else
constexpr int kMostSums = 12;
#endif

/// kRows x kVectors of the sums.
template <int kRows, int kVectors>
void add_block(const Live* cells, int64_t count, const float* image, int64_t row, float* sums,
               int64_t sums_row) {
  const Tag d;
  Vector sum[kRows][kVectors];
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 32
    for (int v = 0; v < kVectors; ++v) sum[r][v] = hn::LoadU(d, sums + r * sums_row + v * kLanes);
  }
  for (const Live* const end = cells + count; cells < end; ++cells) {
    const Vector grad = hn::Set(d, cells->grad);
    const float* patch = image + cells->offset;
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 32
      for (int v = 0; v < kVectors; ++v) {
        sum[r][v] = hn::MulAdd(grad, hn::LoadU(d, patch + r * row + v * kLanes), sum[r][v]);
      }
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 32
    for (int v = 0; v < kVectors; ++v) hn::StoreU(sum[r][v], d, sums + r * sums_row + v * kLanes);
  }
}

using BlockKernel = void (*)(const Live*, int64_t, const float*, int64_t, float*, int64_t);
template <int kRows, size_t... kIndex>
constexpr std::array<BlockKernel, sizeof...(kIndex)> block_kernels(std::index_sequence<kIndex...>) {
  return {&add_block<kRows, static_cast<int>(kIndex) + 1>...};
}
// Three rows at a time suit the common kernel; of others one.
constexpr auto kOneRow = block_kernels<1>(std::make_index_sequence<kMostSums>());
constexpr auto kThreeRows = block_kernels<3>(std::make_index_sequence<kMostSums / 3>());

void add_patches_here(const Live* cells, int64_t count, const float* image, int64_t row, int64_t kernel_rows,
                      int64_t line, float* sums, int64_t sums_row) {
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
      kernel(cells, count, image + ky * row + begin * kLanes, row, sums + ky * sums_row + begin * kLanes,
             sums_row);
    }
    ky += rows;
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

HWY_EXPORT(add_patches_here);
HWY_EXPORT(add_live_gradients_here);

void list_live_cells(const CellBlock& cells, const std::array<int32_t, 256>& offsets, int64_t capacity,
                     Live* lists, int64_t* counts) {
  std::fill(counts, counts + cells.block, 0);
  const uint8_t* winners = cells.winners;
  const float* grad = cells.grad;
  for (int64_t y = 0; y < cells.rows; ++y) {
    for (int64_t x = 0; x < cells.columns; ++x, winners += cells.filters, grad += cells.filters) {
      const auto base = static_cast<int32_t>(cells.origin + y * cells.row_step + x * cells.column_step);
      // A dead cell is written as well, and then overwritten by the next: no branch that nobody can foresee.
      for (int64_t f = 0; f < cells.block; ++f) {
        lists[f * capacity + counts[f]] = {base + offsets[winners[f]], grad[f]};
        counts[f] += winners[f] != FusedPool::kDead ? 1 : 0;
      }
    }
  }
}

void add_patches(const Live* cells, int64_t count, const float* image, int64_t row, int64_t kernel_rows,
                 int64_t line, float* sums, int64_t sums_row) {
  HWY_DYNAMIC_DISPATCH(add_patches_here)(cells, count, image, row, kernel_rows, line, sums, sums_row);
}

void add_live_gradients(const uint8_t* winners, const float* grad, int64_t cells, int64_t filters,
                        float* sums) {
  HWY_DYNAMIC_DISPATCH(add_live_gradients_here)(winners, grad, cells, filters, sums);
}

}  // namespace nacre::sparse
#endif  // HWY_ONCE
