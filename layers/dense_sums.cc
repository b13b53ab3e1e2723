#include "layers/dense_sums.h"

#include <algorithm>

#include "engine/gemm_blocking.h"
#include "engine/parallel.h"
#include "engine/vector_math.h"
#include "layers/aligned_floats.h"
#include "layers/live_terms.h"

namespace nacre {
namespace {

constexpr int64_t kParts = 4;
constexpr int64_t kImages = 128;  // that are worked on together
constexpr int64_t kWidth = LiveTerms::kWidth;
constexpr int64_t kDenseWidth = 256;  // columns of a product without zeros

size_t list_bytes() {
  return LiveTerms(kImages, LiveTerms::kMaxDepth, kImages).bytes();
}

/// Whether most elements of a matrix are alive, by its first rows: then lists are not worth making.
bool is_dense(const GemmArgs& product) {
  const int64_t rows = std::min(product.m, kMostLiveRows);
  return live_in_any(rows, product.k, product.a, product.lda).own * 8 > rows * product.k * 7;
}

}  // namespace

size_t DenseSums::shared_bytes(int64_t n) const {
  return float_bytes((kParts - 1) * n * units_);
}

size_t DenseSums::thread_bytes() {
  return std::max(list_bytes() + float_bytes(LiveTerms::kPanelFloats + kImages * kWidth),
                  gemm_workspace_bytes(kImages, kDenseWidth, LiveTerms::kMaxDepth));
}

void DenseSums::multiply(const GemmArgs& product, int threads, const Workspace& workspace) const {
  // One piece of each part, or what shares out the parts evenly.
  const int64_t cuts = kParts % threads == 0 ? 1 : chunks_of(2 * threads, kParts);
  const int64_t columns = gemm::round_up(chunks_of(units_, cuts), kWidth);
  const int64_t pieces = chunks_of(units_, columns);
  // [m, kParts - 1, units]; the first part is the result.
  auto* const sums = workspace.shared_as<float>();
  const int64_t of_image = (kParts - 1) * units_;
  const int64_t chunks = chunks_of(in_, chunk_rows_);
  const auto begin_of = [&](int64_t part) { return std::min(in_, part * chunks / kParts * chunk_rows_); };
  parallel_for(kParts * pieces, threads, [&](int64_t piece, int worker) {
    const int64_t part = piece / pieces;
    const int64_t column = piece % pieces * columns;
    const int64_t begin = begin_of(part);
    GemmArgs own = product;
    own.n = std::min(columns, units_ - column);
    own.k = begin_of(part + 1) - begin;
    own.a += begin;
    own.b += begin * product.ldb + column;
    own.bias = nullptr;
    own.relu = false;
    own.c = part == 0 ? product.c + column : sums + (part - 1) * units_ + column;
    own.ldc = part == 0 ? product.ldc : of_image;
    multiply_part(own, workspace.of_thread<std::byte>(worker));
  });
  parallel_for(product.m, threads, [&](int64_t image, int /*worker*/) {
    float* y = product.c + image * product.ldc;
    add_rows(kParts - 1, units_, sums + image * of_image, y);
    if (product.bias != nullptr) add(units_, y, product.bias, y);
    if (product.relu) relu_forward(units_, y, y);
  });
}

void DenseSums::multiply_part(const GemmArgs& product, std::byte* scratch) {
  const LiveTerms cut(kImages, product.k, kImages);
  for (int64_t first = 0; first < product.m; first += kImages) {
    for (int64_t number = 0; number < cut.blocks(); ++number) {
      const int64_t k = cut.begin(number);
      GemmArgs block = product;
      block.m = std::min(kImages, product.m - first);
      block.k = cut.depth_of(number);
      block.a += first * product.lda + k;
      block.b += k * product.ldb;
      block.c += first * product.ldc;
      block.accumulate = number > 0;
      // A whole block's rows of the kernel lie together.
      if (product.n == product.ldb && number + 1 < cut.blocks()) {
        block.soon[0] = block.b + block.k * product.ldb;
        block.soon_floats = cut.depth_of(number + 1) * product.ldb;
      }
      multiply_block(block, scratch);
    }
  }
}

void DenseSums::multiply_block(const GemmArgs& product, std::byte* scratch) {
  if (is_dense(product)) {
    for (int64_t j = 0; j < product.n; j += kDenseWidth) {
      GemmArgs part = product;
      part.n = std::min(kDenseWidth, product.n - j);
      part.b += j;
      part.c += j;
      sgemm(part, scratch);
    }
    return;
  }
  const LiveTerms live(product.m, product.k, product.m);
  live.list(0, product.a, product.lda, 1, scratch);
  auto* const panel = reinterpret_cast<float*>(scratch + list_bytes());
  float* const tile = panel + LiveTerms::kPanelFloats;
  auto ahead = LiveAhead::halves(product.soon[0], product.soon_floats);
  // Where rows share lists, loads from the second-level cache keep up with their sums.
  const bool in_place = live.lists(0, 0, scratch) * 3 <= product.m;
  const LiveSum kind = product.accumulate ? LiveSum::kAdd : LiveSum::kStore;
  for (int64_t j = 0; j < product.n; j += kWidth) {
    const int64_t width = std::min(kWidth, product.n - j);
    const float* const from = product.b + j;
    float* const c = product.c + j;
    if (width == kWidth && in_place) {
      live.multiply(0, 0, scratch, from, {c, product.ldc, kind}, ahead, product.ldb);
      continue;
    }
    if (width < kWidth) std::fill_n(panel, LiveTerms::kPanelFloats, 0.0F);
    for (int64_t k = 0; k < product.k; ++k) {
      std::copy_n(from + k * product.ldb, width, panel + k * kWidth);
    }
    if (width == kWidth) {
      live.multiply(0, 0, scratch, panel, {c, product.ldc, kind}, ahead);
      continue;
    }
    live.multiply(0, 0, scratch, panel, {tile, kWidth, LiveSum::kStore}, ahead);
    for (int64_t i = 0; i < product.m; ++i) {
      float* const to = c + i * product.ldc;
      const float* const sum = tile + i * kWidth;
      if (product.accumulate) {
        add(width, to, sum, to);
      } else {
        std::copy_n(sum, width, to);
      }
    }
  }
}

}  // namespace nacre
