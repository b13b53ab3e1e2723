#include "layers/dense_gradients.h"

#include <algorithm>

#include "engine/gemm.h"
#include "engine/parallel.h"
#include "layers/aligned_floats.h"

namespace nacre {
namespace {

// Products of matrices: the kernel's rows of a chunk fit into the second-level cache three times.
constexpr int64_t kChunkFloats = 48 * 1024;
constexpr int64_t kLeastChunks = 16;
constexpr int64_t kRowStep = 12;  // a whole tile of the product
// Lists: so many units are worked on together.
constexpr int64_t kUnitsPerGroup = 128;

int64_t rows_for_matrices(int64_t in, int64_t units) {
  // Of that many floats, by the shape alone, but some chunks for every thread.
  const int64_t rows = std::clamp<int64_t>(kChunkFloats / units, 1, (in - 1) / kLeastChunks + 1);
  return (rows + kRowStep - 1) / kRowStep * kRowStep;
}

}  // namespace

DenseGradients::DenseGradients(int64_t in, int64_t units, bool sparse)
    : in_(in),
      units_(units),
      sparse_(sparse),
      chunk_rows_(sparse ? LiveTerms::kWidth : rows_for_matrices(in, units)) {}

size_t DenseGradients::shared_bytes(int64_t n) const {
  if (sparse_) return by_images(n).bytes() + by_units(n).bytes();
  return align_up(packed_b_floats(n, units_) * sizeof(float));
}

size_t DenseGradients::thread_bytes(int64_t n) const {
  if (sparse_) {
    const int64_t tile_rows = std::max(n, std::min(units_, kUnitsPerGroup));
    return float_bytes(LiveTerms::kPanelFloats + tile_rows * LiveTerms::kWidth);
  }
  return std::max(gemm_workspace_bytes(n, chunk_rows_, units_), gemm_workspace_bytes(chunk_rows_, units_, n));
}

LiveTerms DenseGradients::by_images(int64_t n) const {
  return {n, units_, n};
}

LiveTerms DenseGradients::by_units(int64_t n) const {
  return {units_, n, kUnitsPerGroup};
}

int64_t DenseGradients::next_floats(const Chunk& chunk) const {
  return std::min(chunk_rows_, in_ - chunk.begin - chunk.rows) * units_;
}

void DenseGradients::prepare(int64_t n, const float* gradient, int threads, std::byte* shared) const {
  if (!sparse_) return pack_b(n, units_, gradient, units_, false, reinterpret_cast<float*>(shared));
  const LiveTerms images = by_images(n);
  const LiveTerms units = by_units(n);
  parallel_for(units.groups() + 1, threads, [&](int64_t part, int /*worker*/) {
    if (part == 0) {
      images.list(0, gradient, units_, 1, shared);
    } else {
      units.list(part - 1, gradient, 1, units_, shared + images.bytes());
    }
  });
}

void DenseGradients::input(const Chunk& chunk) const {
  sparse_ ? input_by_lists(chunk) : input_by_matrices(chunk);
}

void DenseGradients::kernel(const Chunk& chunk, float* result) const {
  sparse_ ? kernel_by_lists(chunk, result) : kernel_by_matrices(chunk, result);
}

void DenseGradients::input_by_matrices(const Chunk& chunk) const {
  GemmArgs product;
  product.m = chunk.n;
  product.n = chunk.rows;
  product.k = units_;
  product.a = chunk.gradient;
  product.lda = units_;
  product.b = chunk.kernel + chunk.begin * units_;
  product.ldb = units_;
  product.transpose_b = true;
  product.c = chunk.x_gradient + chunk.begin;
  product.ldc = in_;
  product.soon = chunk.soon;
  product.soon_floats = product.soon[0] == nullptr ? 0 : chunk.rows * units_;
  sgemm(product, chunk.scratch);
}

void DenseGradients::kernel_by_matrices(const Chunk& chunk, float* result) const {
  GemmArgs product;
  product.m = chunk.rows;
  product.n = units_;
  product.k = chunk.n;
  product.a = chunk.x + chunk.begin;
  product.lda = in_;
  product.transpose_a = true;
  product.c = result;
  product.ldc = units_;
  // The next rows of the kernel, most likely those of this thread's next chunk.
  const float* next = chunk.kernel + (chunk.begin + chunk.rows) * units_;
  product.soon_floats = next_floats(chunk) / 2;
  product.soon = {next, next + product.soon_floats};
  sgemm_packed_b(product, reinterpret_cast<const float*>(chunk.shared), chunk.scratch);
}

void DenseGradients::input_by_lists(const Chunk& chunk) const {
  const LiveTerms live = by_images(chunk.n);
  const bool whole = chunk.rows == LiveTerms::kWidth;
  auto* const panel = reinterpret_cast<float*>(chunk.scratch);
  float* const tile = panel + LiveTerms::kPanelFloats;
  float* const result = chunk.x_gradient + chunk.begin;
  if (!whole) std::fill_n(panel, LiveTerms::kPanelFloats, 0.0F);
  const int64_t soon_floats = chunk.soon[0] == nullptr ? 0 : chunk.rows * units_;
  const int64_t parts = live.blocks() * live.fetches_of(0);
  std::array ahead{FetchAhead(chunk.soon[0], soon_floats, parts),
                   FetchAhead(chunk.soon[1], soon_floats, parts)};
  for (int64_t block = 0; block < live.blocks(); ++block) {
    transpose_block(chunk.rows, live.depth_of(block), chunk.kernel + chunk.begin * units_ + live.begin(block),
                    units_, panel, LiveTerms::kWidth);
    const LiveSums sums{whole ? result : tile, whole ? in_ : LiveTerms::kWidth,
                        block > 0 ? LiveSum::kAdd : LiveSum::kStore};
    live.multiply(0, block, chunk.shared, panel, sums, ahead);
  }
  if (whole) return;
  for (int64_t i = 0; i < chunk.n; ++i) {
    std::copy_n(tile + i * LiveTerms::kWidth, chunk.rows, result + i * in_);
  }
}

void DenseGradients::kernel_by_lists(const Chunk& chunk, float* result) const {
  const LiveTerms live = by_units(chunk.n);
  const std::byte* const lists = chunk.shared + by_images(chunk.n).bytes();
  auto* const panel = reinterpret_cast<float*>(chunk.scratch);
  float* const tile = panel + LiveTerms::kPanelFloats;
  if (chunk.rows < LiveTerms::kWidth) std::fill_n(panel, LiveTerms::kPanelFloats, 0.0F);
  std::array ahead{FetchAhead(chunk.kernel + (chunk.begin + chunk.rows) * units_, next_floats(chunk),
                              live.groups() * live.blocks() * live.fetches_of(0))};
  for (int64_t group = 0; group < live.groups(); ++group) {
    for (int64_t block = 0; block < live.blocks(); ++block) {
      if (group == 0 || live.blocks() > 1) {
        copy_columns(chunk, live.begin(block), live.depth_of(block), panel);
      }
      live.multiply(group, block, lists, panel,
                    {tile, LiveTerms::kWidth, block > 0 ? LiveSum::kAdd : LiveSum::kStore}, ahead);
    }
    transpose_block(live.rows_of(group), chunk.rows, tile, LiveTerms::kWidth, result + live.first_row(group),
                    units_);
  }
}

/// The panel of the columns of x that these rows of the kernel weigh, of images from `first` on.
void DenseGradients::copy_columns(const Chunk& chunk, int64_t first, int64_t count, float* panel) const {
  const int64_t at = first * in_ + chunk.begin;
  const float* x = chunk.x + at;
  float* written = chunk.x_gradient == nullptr ? nullptr : chunk.x_gradient + at;
  for (int64_t i = 0; i < count; ++i, x += in_, panel += LiveTerms::kWidth) {
    // The next rows' columns lie behind these, those that will be written as well.
    for (int64_t k = 0; k < LiveTerms::kWidth; k += 16) {
      __builtin_prefetch(x + chunk.rows + k, 0, 2);
      if (written != nullptr) prefetch_to_write(written + i * in_ + chunk.rows + k);
    }
    std::copy_n(x, chunk.rows, panel);
  }
}

}  // namespace nacre
