#pragma once

#include <cstdint>

#include "engine/gemm.h"

namespace nacre::gemm {

/// Whether a product of B as it lies reads it in place; it needs no workspace then.
inline bool is_streamed(const GemmArgs& args) {
  return args.m <= kStreamedRows && !args.transpose_a && !args.transpose_b;
}

/// The whole product on this thread, by the best instruction set that is allowed. `packed` is op(B) by
/// pack_whole_b, or null: then args.b is read. Sizes of the workspace: gemm_workspace_bytes.
void multiply(const GemmArgs& args, const float* packed, float* workspace);

/// Packs op(B)[k, n] as panels of one tile's width: [ceil(n / width)][k][width].
void pack_whole_b(int64_t k, int64_t n, const float* b, int64_t ldb, bool transpose_b, float* packed);

}  // namespace nacre::gemm
