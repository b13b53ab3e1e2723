#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>

namespace nacre {

/// One product of row-major single-precision matrices:
///   C[m, n] = (accumulate ? C : 0) + op(A)[m, k] * op(B)[k, n] + bias[n], then clipped.
///
/// op(X) is X or its transpose: with `transpose_a` A is stored as [k, m], with `transpose_b` B as [n, k]. A
/// leading dimension is the distance in floats between two stored rows, at least the length of a stored row.
/// C must not overlap A, B or bias. Nothing needs alignment. m, n, k >= 0; with k = 0 the product is zero.
///
/// The bits of C[i, j] depend only on row i of op(A), column j of op(B), C[i, j], bias[j], k and the
/// instruction set: not on m, n, the other rows and columns, the number of threads, which of the functions
/// below runs, or the transposition. k is cut into blocks by its length alone; in a block the products are
/// added in ascending order to a sum that begins at zero (one fused multiply-add each where the instruction
/// set has it), and the blocks' sums are added in ascending order. So a row computed alone equals the same
/// row in a batch. An element of op(A) that is zero adds nothing, and what it would meet in B may not be
/// read: of B that is infinite or NaN there, nothing is promised.
struct GemmArgs {
  int64_t m = 0;
  int64_t n = 0;
  int64_t k = 0;
  const float* a = nullptr;
  int64_t lda = 0;
  bool transpose_a = false;
  const float* b = nullptr;
  int64_t ldb = 0;
  bool transpose_b = false;
  float* c = nullptr;
  int64_t ldc = 0;
  bool accumulate = false;      ///< add to C instead of overwriting it (C is not read otherwise)
  const float* bias = nullptr;  ///< [n], added after the last product; none when null
  bool relu = false;            ///< negative results become 0; NaN stays NaN
  float at_most = std::numeric_limits<float>::infinity();  ///< larger results become that; NaN stays NaN
  /// Two places in memory that what follows will read, `soon_floats` floats of each; they are brought near
  /// while the product computes, as far as it lasts and B is packed. Nothing of them is read here.
  std::array<const float*, 2> soon{};
  int64_t soon_floats = 0;
};

/// Of so many rows at most, and if nothing is transposed, sgemm reads B in place: packing it for one product
/// would cost more than it gains.
inline constexpr int64_t kStreamedRows = 8;
/// It reads B once for each part of so many rows. A copy that is packed already is faster for more, unless it
/// is large and of one thread.
inline constexpr int64_t kStreamedAtOnce = 5;
/// Floats of a matrix from which on it comes from beyond the second-level cache.
inline constexpr int64_t kFarMatrix = int64_t{1} << 18;

/// Bytes of workspace that sgemm and sgemm_packed_b need for any product of at most these extents, on any
/// instruction set; a multiple of 64.
size_t gemm_workspace_bytes(int64_t m, int64_t n, int64_t k);

/// The product, on the calling thread. `workspace` is 64-byte aligned, of gemm_workspace_bytes(m, n, k); its
/// content is meaningless before and after. Allocates nothing.
void sgemm(const GemmArgs& args, void* workspace);

/// Floats that op(B)[k, n] takes in packed form, on any instruction set.
size_t packed_b_floats(int64_t k, int64_t n);

/// Packs op(B)[k, n] into `packed`: 64-byte aligned, packed_b_floats(k, n) floats. The layout depends on the
/// instruction set, so packed matrices live in memory only, never in files. Where j is a multiple of
/// kPackedColumns, columns from j on, packed, begin at packed + j * k.
inline constexpr int64_t kPackedColumns = 32;
void pack_b(int64_t k, int64_t n, const float* b, int64_t ldb, bool transpose_b, float* packed);

/// As sgemm, with op(B) packed by pack_b for the same k and n; args.b, args.ldb and args.transpose_b are not
/// read.
void sgemm_packed_b(const GemmArgs& args, const float* packed, void* workspace);

/// Bytes of workspace for sgemm_parallel on at most `threads` threads; a multiple of 64.
size_t gemm_parallel_workspace_bytes(int64_t m, int64_t n, int64_t k, int threads);

/// The product, on up to `threads` threads (not from inside another parallel region). `workspace` is 64-byte
/// aligned, of gemm_parallel_workspace_bytes(m, n, k, threads).
void sgemm_parallel(const GemmArgs& args, int threads, void* workspace);

/// The same for packed B.
void sgemm_packed_b_parallel(const GemmArgs& args, const float* packed, int threads, void* workspace);

/// Bytes that one thread of sgemm_packed_b_parallel needs for any product of at most these extents; a
/// multiple of 64.
size_t gemm_thread_workspace_bytes(int64_t m, int64_t n, int64_t k);

/// The same with workspaces of gemm_thread_workspace_bytes that lie `stride` bytes apart, a multiple of 64.
void sgemm_packed_b_parallel(const GemmArgs& args, const float* packed, int threads, void* workspace,
                             size_t stride);

}  // namespace nacre
