#include "engine/gemm.h"

#include <algorithm>

#include "engine/gemm_blocking.h"
#include "engine/gemm_kernel.h"
#include "engine/parallel.h"
#include "engine/tensor.h"

namespace nacre {
namespace {

static_assert(kPackedColumns % gemm::kMaxTileColumns == 0);

using gemm::ceil_div;
using gemm::round_up;

/// How sgemm_parallel cuts C: into some chunks for every thread, each large enough to be worth packing for.
/// No result depends on the cut.
struct Chunks {
  int64_t rows;
  int64_t columns;

  Chunks(int64_t m, int64_t n, int threads, bool packed = false)
      : rows(std::min(m, gemm::kBlockRows)), columns(std::min<int64_t>(n, 256)) {
    constexpr int64_t kPerThread = 2;
    constexpr int64_t kMinRows = 48;
    if (packed && m > kStreamedAtOnce && m <= kMinRows) {
      // Each chunk looks for zeros in all rows, which takes a while where it has few columns.
      columns = std::min(gemm::kBlockColumns, round_up(ceil_div(n, std::max(threads, 1)), kPackedColumns));
      return;
    }
    // A few rows take as long as reading B, which wants long stretches of memory.
    const int64_t kMinColumns = m <= kStreamedRows ? 256 : 64;
    const int64_t enough = threads <= 1 ? 1 : kPerThread * threads;
    const auto count = [&] { return ceil_div(m, rows) * ceil_div(n, columns); };
    while (count() < enough && columns >= 2 * kMinColumns) columns = round_up(columns / 2, kMinColumns);
    // In equal parts: tiles need not have all rows.
    while (count() < enough && rows >= 2 * kMinRows) rows = ceil_div(rows, 2);
  }

  [[nodiscard]] size_t bytes_per_worker(int64_t k) const { return gemm_workspace_bytes(rows, columns, k); }
};

/// Workspaces of threads lie `stride` bytes apart.
void multiply_in_chunks(const GemmArgs& args, const float* packed, int threads, void* workspace,
                        size_t stride) {
  if (args.m <= 0 || args.n <= 0) return;
  // The longer the stretches of B, the faster they are read; and what is read in place needs no room.
  if (threads <= 1 && packed == nullptr && gemm::is_streamed(args))
    return gemm::multiply(args, nullptr, nullptr);
  const Chunks chunks(args.m, args.n, threads, packed != nullptr);
  const int64_t columns = ceil_div(args.n, chunks.columns);
  parallel_for(ceil_div(args.m, chunks.rows) * columns, threads, [&](int64_t chunk, int worker) {
    const int64_t i = chunk / columns * chunks.rows;
    const int64_t j = chunk % columns * chunks.columns;
    GemmArgs part = args;
    part.soon_floats = 0;  // each chunk would fetch the same
    part.m = std::min(chunks.rows, args.m - i);
    part.n = std::min(chunks.columns, args.n - j);
    part.a += args.transpose_a ? i : i * args.lda;
    if (packed == nullptr) part.b += args.transpose_b ? j * args.ldb : j;
    part.c += i * args.ldc + j;
    if (part.bias != nullptr) part.bias += j;
    // Whole panels come before column j, since the chunks' width is a multiple of a panel's.
    const float* panels = packed == nullptr ? nullptr : packed + j * args.k;
    auto* own = static_cast<std::byte*>(workspace) + static_cast<size_t>(worker) * stride;
    gemm::multiply(part, panels, reinterpret_cast<float*>(own));
  });
}

}  // namespace

size_t gemm_workspace_bytes(int64_t m, int64_t n, int64_t k) {
  // Not block_depth(k): a smaller k may have deeper blocks, and must find room too.
  const int64_t depth = std::clamp<int64_t>(k, 1, gemm::kMaxDepth);
  const int64_t columns = round_up(std::min(n, gemm::kBlockColumns), gemm::kMaxTileColumns);
  // Block of A and block of B.
  const int64_t floats = gemm::block_a_floats(m, depth) + columns * depth;
  return align_up(static_cast<size_t>(floats) * sizeof(float));
}

void sgemm(const GemmArgs& args, void* workspace) {
  gemm::multiply(args, nullptr, static_cast<float*>(workspace));
}

size_t packed_b_floats(int64_t k, int64_t n) {
  return static_cast<size_t>(k * round_up(n, gemm::kMaxTileColumns));
}

void pack_b(int64_t k, int64_t n, const float* b, int64_t ldb, bool transpose_b, float* packed) {
  gemm::pack_whole_b(k, n, b, ldb, transpose_b, packed);
}

void sgemm_packed_b(const GemmArgs& args, const float* packed, void* workspace) {
  gemm::multiply(args, packed, static_cast<float*>(workspace));
}

size_t gemm_parallel_workspace_bytes(int64_t m, int64_t n, int64_t k, int threads) {
  return static_cast<size_t>(std::max(threads, 1)) * gemm_thread_workspace_bytes(m, n, k);
}

size_t gemm_thread_workspace_bytes(int64_t m, int64_t n, int64_t k) {
  if (m <= 0 || n <= 0) return 0;
  // Chunks are largest for one thread.
  return Chunks(m, n, 1).bytes_per_worker(k);
}

void sgemm_parallel(const GemmArgs& args, int threads, void* workspace) {
  multiply_in_chunks(args, nullptr, threads, workspace, gemm_thread_workspace_bytes(args.m, args.n, args.k));
}

void sgemm_packed_b_parallel(const GemmArgs& args, const float* packed, int threads, void* workspace) {
  multiply_in_chunks(args, packed, threads, workspace, gemm_thread_workspace_bytes(args.m, args.n, args.k));
}

void sgemm_packed_b_parallel(const GemmArgs& args, const float* packed, int threads, void* workspace,
                             size_t stride) {
  multiply_in_chunks(args, packed, threads, workspace, stride);
}

}  // namespace nacre
