#include "engine/gemm_kernel.h"

#include <algorithm>

#include "engine/gemm_blocking.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/gemm_kernel.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
// Highway's ops, for the target that foreach_target.h chose.
#include <hwy/highway.h>

#include "engine/gemm_pack-inl.h"
#include "engine/gemm_shared-inl.h"
#include "engine/gemm_sparse-inl.h"
#include "engine/gemm_stream-inl.h"
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
        const Finish finish = finish_of(args, args.c + i * args.ldc + j, k == 0, last, j);
        if (!args.transpose_a && args.soon_floats == 0) {
          const SparseA shared{from, args.lda, rows, depth, kLiveDepth};
          if (is_shared(shared, columns)) {
            multiply_shared(columns, shared, b, panel_stride, finish, block_a);
            continue;
          }
          const bool fetches = args.n * args.k > kFarMatrix;
          const SparseA sparse{from, args.lda, rows, depth};
          if (const int together = rows_of_list(sparse, columns); together > 0) {
            multiply_sparse(columns, sparse, together, b, panel_stride, finish, fetches,
                            reinterpret_cast<int32_t*>(block_a));
            continue;
          }
        }
        const BlockA a = prepare_a(from, args.lda, args.transpose_a, pack_a, rows, depth, block_a);
        multiply_block(columns, depth, a, b, panel_stride, finish, soon);
      }
      k += depth;
    } while (k < args.k);
  }
}

void multiply_here(const GemmArgs& args, const float* packed, float* workspace) {
  if (args.m <= 0 || args.n <= 0) return;
  if (packed == nullptr && is_streamed(args)) {
    multiply_streamed(args);
  } else {
    multiply_packed(args, packed, workspace);
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
