#include "engine/gemm_kernel.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

#include "engine/gemm_blocking.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/gemm_kernel.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
// Highway's ops, for the target that foreach_target.h chose.
#include <hwy/highway.h>

#include "engine/gemm_pack-inl.h"
#include "engine/gemm_tiles-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nacre::gemm {
namespace HWY_NAMESPACE {
namespace {

/// A block of A from `from`, packed to `to` if `pack` says so. A transposed A in place has no rows to read
/// beyond its end, so a few rows, on which a larger tile works, are packed in any case.
BlockA prepare_a(const float* from, int64_t lda, bool transposed, bool pack, int64_t rows, int64_t depth,
                 float* to) {
  if (!pack && !transposed) return {{from, lda, LayoutA::kByRows}, rows, lda, 0};
  if (!pack && rows >= kLeastTileRows) return {{from, lda, LayoutA::kByColumns}, rows, 1, 0};
  const BlockA block{{to, kTileRows, LayoutA::kByColumns}, rows, 0, depth * kTileRows};
  const auto pack_tiles = [&](int64_t first, int64_t count, int64_t tile) {
    pack_panels<kTileRows>(from + first * (transposed ? 1 : lda), lda, !transposed, count, depth,
                           to + tile * block.tile_stride, block.tile_stride);
  };
  if (rows % kTileRows == 0) {
    // Whole tiles at once: memory is read in longer runs.
    pack_tiles(0, rows, 0);
  } else {
    for (int64_t t = 0; t < block.tiles(); ++t)
      pack_tiles(block.begin(t), block.begin(t + 1) - block.begin(t), t);
  }
  return block;
}

/// What happens to sums that belong to `c`; in the last block of depth all that the product asks for.
Finish finish_of(const GemmArgs& args, float* c, bool first, bool last, int64_t column) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const bool plain = !last || (args.bias == nullptr && !args.relu && args.at_most == kInfinity);
  Finish finish{c, args.ldc, args.accumulate || !first, plain, nullptr, -kInfinity, kInfinity};
  if (plain) return finish;
  if (args.bias != nullptr) finish.bias = args.bias + column;
  if (args.relu) finish.least = 0;
  finish.most = args.at_most;
  return finish;
}

void multiply_packed(const GemmArgs& args, const float* packed, float* workspace) {
  // Each row of A is read once for every panel: with few panels, packing costs more than it saves.
  // Where a tile's columns lie far apart, which is one place in the cache for many of them, it saves more.
  const bool is_far = args.transpose_a && args.lda >= 256;
  const int64_t panels_worth_packing = is_far ? 2 : 8;
  const bool pack_a = args.n > panels_worth_packing * kTileColumns;
  const int64_t max_depth = block_depth(std::max<int64_t>(args.k, 1));
  Soon soon{{args.soon[0], args.soon[1]}, args.soon_floats};
  float* const block_a = workspace;
  float* const block_b = workspace + block_a_floats(args.m, max_depth);
  for (int64_t j = 0; j < args.n; j += kBlockColumns) {
    const int64_t columns = std::min(kBlockColumns, args.n - j);
    int64_t k = 0;
    do {
      const int64_t depth = std::min(max_depth, args.k - k);
      const bool last = k + depth == args.k;
      const float* b = block_b;
      int64_t panel_stride = depth * kTileColumns;
      if (packed != nullptr) {
        b = packed + j * args.k + k * kTileColumns;
        panel_stride = args.k * kTileColumns;
      } else {
        const float* from = args.b + (args.transpose_b ? j * args.ldb + k : k * args.ldb + j);
        pack_panels<kTileColumns>(from, args.ldb, args.transpose_b, columns, depth, block_b, panel_stride);
      }
      for (int64_t i = 0; i < args.m; i += kBlockRows) {
        const int64_t rows = std::min(kBlockRows, args.m - i);
        const float* from = args.a + (args.transpose_a ? k * args.lda + i : i * args.lda + k);
        const BlockA a = prepare_a(from, args.lda, args.transpose_a, pack_a, rows, depth, block_a);
        const Finish finish = finish_of(args, args.c + i * args.ldc + j, k == 0, last, j);
        multiply_block(columns, depth, a, b, panel_stride, finish, soon);
      }
      k += depth;
    } while (k < args.k);
  }
}

/// sum[columns] += a[0..depth) * B[depth, columns], in ascending order of k for each column. Rows of B that a
/// zero would weigh, of which a relu leaves many, are not read: adding nothing changes no bit.
void stream_rows(int64_t depth, const float* a, int64_t a_step, const float* b, int64_t ldb, int64_t columns,
                 float* HWY_RESTRICT sum) {
  const Tag d;
  constexpr int kUnroll = 8;
  std::array<int32_t, kMaxDepth> live;
  int64_t count = 0;
  for (int64_t k = 0; k < depth; ++k) {
    live[static_cast<size_t>(count)] = static_cast<int32_t>(k);
    count += a[k * a_step] != 0 ? 1 : 0;
  }
  int64_t k = 0;
  const auto add = [&]<int kDepth>() HWY_ATTR {
    Vector factor[kDepth];
    const float* row[kDepth];
    const float* next[kDepth];
#pragma GCC unroll 8
    for (int u = 0; u < kDepth; ++u) {
      const int64_t at = live[static_cast<size_t>(k + u)];
      factor[u] = hn::Set(d, a[at * a_step]);
      row[u] = b + at * ldb;
      next[u] = b + live[static_cast<size_t>(std::min(k + kDepth + u, count - 1))] * ldb;
    }
    int64_t j = 0;
    for (; j + kLanes <= columns; j += kLanes) {
      Vector total = hn::Load(d, sum + j);
#pragma GCC unroll 8
      for (int u = 0; u < kDepth; ++u) {
        // Where rows are left out the hardware does not know which come next.
        if (j % 16 == 0) __builtin_prefetch(next[u] + j);
        total = hn::MulAdd(factor[u], hn::LoadU(d, row[u] + j), total);
      }
      hn::Store(total, d, sum + j);
    }
    if (j < columns) {
      Vector total = hn::Load(d, sum + j);
#pragma GCC unroll 8
      for (int u = 0; u < kDepth; ++u) {
        total = hn::MulAdd(factor[u], load_some(d, row[u] + j, columns - j), total);
      }
      hn::Store(total, d, sum + j);
    }
    k += kDepth;
  };
  while (k + kUnroll <= count) add.template operator()<kUnroll>();
  while (k < count) add.template operator()<1>();
}

/// The sums of a row over a block, put where they belong.
void finish_row(const float* sum, int64_t columns, const Finish& finish) {
  const Tag d;
  HWY_ALIGN float c[kLanes] = {};
  HWY_ALIGN float bias[kLanes] = {};
  for (int64_t j = 0; j < columns; j += kLanes) {
    const auto bytes = static_cast<size_t>(std::min<int64_t>(kLanes, columns - j)) * sizeof(float);
    if (finish.bias != nullptr) std::memcpy(bias, finish.bias + j, bytes);
    Vector v = hn::Load(d, sum + j);
    if (finish.add_c) {
      std::memcpy(c, finish.c + j, bytes);
      v = hn::Add(hn::Load(d, c), v);
    }
    if (!finish.plain) v = clipped(hn::Add(v, hn::Load(d, bias)), set(finish.least), set(finish.most));
    hn::Store(v, d, c);
    std::memcpy(finish.c + j, c, bytes);
  }
}

/// The product for a few rows: B, read once and in the order of memory, costs nearly all the time.
void multiply_streamed(const GemmArgs& args, float* sum) {
  const int64_t max_depth = block_depth(std::max<int64_t>(args.k, 1));
  for (int64_t j = 0; j < args.n; j += kStreamColumns) {
    const int64_t columns = std::min(kStreamColumns, args.n - j);
    int64_t k = 0;
    do {
      const int64_t depth = std::min(max_depth, args.k - k);
      const bool last = k + depth == args.k;
      for (int64_t i = 0; i < args.m; ++i) {
        std::fill_n(sum, round_up(columns, kLanes), 0.0F);
        const float* a = args.a + (args.transpose_a ? k * args.lda + i : i * args.lda + k);
        stream_rows(depth, a, args.transpose_a ? args.lda : 1, args.b + k * args.ldb + j, args.ldb, columns,
                    sum);
        finish_row(sum, columns, finish_of(args, args.c + i * args.ldc + j, k == 0, last, j));
      }
      k += depth;
    } while (k < args.k);
  }
}

/// One row times packed panels, several panels at a time.
template <int kPanels>
void multiply_row_by_panels(int64_t depth, const float* a, int64_t a_step, const float* b,
                            int64_t panel_stride, float* sum) {
  const Tag d;
  Vector total[kPanels][2];
#pragma GCC unroll 4
  for (int p = 0; p < kPanels; ++p) total[p][0] = total[p][1] = hn::Zero(d);
  for (int64_t k = 0; k < depth; ++k) {
    const Vector factor = hn::Set(d, a[k * a_step]);
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p) {
      const float* panel = b + p * panel_stride + k * kTileColumns;
      total[p][0] = hn::MulAdd(factor, hn::Load(d, panel), total[p][0]);
      total[p][1] = hn::MulAdd(factor, hn::Load(d, panel + kLanes), total[p][1]);
    }
  }
#pragma GCC unroll 4
  for (int p = 0; p < kPanels; ++p) {
    hn::Store(total[p][0], d, sum + p * kTileColumns);
    hn::Store(total[p][1], d, sum + p * kTileColumns + kLanes);
  }
}

void multiply_rows_by_panels(const GemmArgs& args, const float* packed) {
  constexpr int kPanels = 4;
  HWY_ALIGN float sum[kPanels * kTileColumns];
  const int64_t max_depth = block_depth(std::max<int64_t>(args.k, 1));
  const int64_t panel_stride = args.k * kTileColumns;
  for (int64_t j = 0; j < args.n; j += kPanels * kTileColumns) {
    const int64_t columns = std::min<int64_t>(kPanels * kTileColumns, args.n - j);
    for (int64_t i = 0; i < args.m; ++i) {
      int64_t k = 0;
      do {
        const int64_t depth = std::min(max_depth, args.k - k);
        const bool last = k + depth == args.k;
        const float* a = args.a + (args.transpose_a ? k * args.lda + i : i * args.lda + k);
        const int64_t a_step = args.transpose_a ? args.lda : 1;
        const float* b = packed + j * args.k + k * kTileColumns;
        if (columns > (kPanels - 1) * kTileColumns) {
          multiply_row_by_panels<kPanels>(depth, a, a_step, b, panel_stride, sum);
        } else {
          for (int64_t p = 0; p * kTileColumns < columns; ++p) {
            multiply_row_by_panels<1>(depth, a, a_step, b + p * panel_stride, panel_stride,
                                      sum + p * kTileColumns);
          }
        }
        finish_row(sum, columns, finish_of(args, args.c + i * args.ldc + j, k == 0, last, j));
        k += depth;
      } while (k < args.k);
    }
  }
}

void multiply_here(const GemmArgs& args, const float* packed, float* workspace) {
  if (args.m <= 0 || args.n <= 0) return;
  if (args.m > kStreamRows || (packed == nullptr && args.transpose_b)) {
    multiply_packed(args, packed, workspace);
  } else if (packed != nullptr) {
    multiply_rows_by_panels(args, packed);
  } else {
    multiply_streamed(args, workspace);
  }
}

void pack_here(int64_t k, int64_t n, const float* b, int64_t ldb, bool transpose_b, float* packed) {
  pack_panels<kTileColumns>(b, ldb, transpose_b, n, k, packed, k * kTileColumns);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace nacre::gemm
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace nacre::gemm {

HWY_EXPORT(multiply_here);
HWY_EXPORT(pack_here);

void multiply(const GemmArgs& args, const float* packed, float* workspace) {
  HWY_DYNAMIC_DISPATCH(multiply_here)(args, packed, workspace);
}

void pack_whole_b(int64_t k, int64_t n, const float* b, int64_t ldb, bool transpose_b, float* packed) {
  HWY_DYNAMIC_DISPATCH(pack_here)(k, n, b, ldb, transpose_b, packed);
}

}  // namespace nacre::gemm
#endif  // HWY_ONCE
