#include "layers/quad_gradient.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "engine/tensor.h"
#include "layers/fetch_ahead.h"
#include "layers/padded_rows.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "layers/quad_gradient.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
// Highway's ops, for the target that foreach_target.h chose.
#include <hwy/highway.h>

#include "engine/vectors-inl.h"

#ifndef NACRE_LAYERS_QUAD_GRADIENT_ONCE
#define NACRE_LAYERS_QUAD_GRADIENT_ONCE
namespace nacre::quads {

constexpr int64_t kFilterStep = 16;   // the longest vector
constexpr int64_t kSlack = 16;        // quads are read in whole vectors
constexpr int64_t kRowsTogether = 2;  // of pooled cells: kernels share rows of quads

/// One row of pooled cells.
struct Job {
  int64_t cells;
  int64_t filters;
  int64_t sums_row;  ///< floats from one tap's sums to the next's
  const uint8_t* winners;
  const float* grad;
  const float* quads;  ///< of the first cell's first tap
  int64_t cell_step;   ///< floats from one cell's quads to the next's
  int64_t row_step;    ///< and from one row of the kernel to the next
  int64_t rows;        ///< of the kernel
  int64_t line;        ///< taps and channels of one of them
  float* sums;
};

}  // namespace nacre::quads
#endif

HWY_BEFORE_NAMESPACE();
namespace nacre::quads {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using nacre::HWY_NAMESPACE::kLanes;
using nacre::HWY_NAMESPACE::Tag;
using nacre::HWY_NAMESPACE::Vector;

// Sums that stay in registers, beside a gradient, its choice and a quad.
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
constexpr int kMostSums = 27;
#else
constexpr int kMostSums = 12;
#endif

/// quads[i] = {a[i], a[i + channels], b[i], b[i + channels]} for two rows of an image.
void make_quads(const float* a, const float* b, int64_t channels, int64_t count, float* HWY_RESTRICT quads) {
  int64_t i = 0;
#if HWY_TARGET != HWY_SCALAR
  const Tag d;
  for (; i + kLanes <= count; i += kLanes) {
    hn::StoreInterleaved4(hn::LoadU(d, a + i), hn::LoadU(d, a + i + channels), hn::LoadU(d, b + i),
                          hn::LoadU(d, b + i + channels), d, quads + 4 * i);
  }
#endif
  for (; i < count; ++i) {
    quads[4 * i] = a[i];
    quads[4 * i + 1] = a[i + channels];
    quads[4 * i + 2] = b[i];
    quads[4 * i + 3] = b[i + channels];
  }
}

// Quads that are loaded together, so that most loads stay within a line of the cache.
constexpr int kTogether = kLanes >= 8 ? 2 : 1;

/// The gradients of a cell for a vector of filters, and which of a quad each takes.
struct Chosen {
  Vector grad;
#if HWY_TARGET == HWY_SCALAR
  int winner;
#else
  using Indices = decltype(hn::IndicesFromVec(Tag(), hn::Vec<hn::RebindToSigned<Tag> >()));
  Indices winners[kTogether];  ///< in the first quad, the second
#endif

  /// From quad `i` of those at `quads`.
  HWY_INLINE Vector from(const float* quads, int i) const {
#if HWY_TARGET == HWY_SCALAR
    return hn::Set(Tag(), quads[4 * i + winner]);
#else
    const int first = i / kTogether * kTogether;
    return hn::TableLookupLanes(hn::LoadU(Tag(), quads + 4 * first), winners[i - first]);
#endif
  }
};

HWY_INLINE Chosen choose(const uint8_t* winners, const float* grad) {
  const Tag d;
#if HWY_TARGET == HWY_SCALAR
  const bool dead = *winners == FusedPool::kDead;
  return {hn::Set(d, dead ? 0.0F : *grad), dead ? 0 : *winners};
#else
  const hn::RebindToSigned<Tag> di;
  const auto winner = hn::PromoteTo(di, hn::LoadU(hn::Rebind<uint8_t, decltype(di)>(), winners));
  const auto dead = hn::RebindMask(d, hn::Eq(winner, hn::Set(di, FusedPool::kDead)));
  const auto position = hn::And(winner, hn::Set(di, 3));
  Chosen chosen{hn::IfThenZeroElse(dead, hn::LoadU(d, grad)), {}};
#pragma GCC unroll 2
  for (int i = 0; i < kTogether; ++i) {
    chosen.winners[i] = hn::IndicesFromVec(d, hn::Add(position, hn::Set(di, 4 * i)));
  }
  return chosen;
#endif
}

/// Sums [kRows][kTaps] of a vector of filters, from rows of quads `job.row_step` apart; `bias`: that of their
/// gradients, or null.
template <int kRows, int kTaps>
void add_block(const Job& job, const float* quads, float* sums, float* bias) {
  const Tag d;
  const int64_t row_sums = job.line * job.sums_row;
  Vector sum[kRows][kTaps];
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 32
    for (int t = 0; t < kTaps; ++t) sum[r][t] = hn::LoadU(d, sums + r * row_sums + t * job.sums_row);
  }
  Vector all = hn::Zero(d);
  const uint8_t* winners = job.winners;
  const float* grad = job.grad;
  for (int64_t cell = 0; cell < job.cells; ++cell) {
    const Chosen chosen = choose(winners, grad);
    all = hn::Add(all, chosen.grad);
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 32
      for (int t = 0; t < kTaps; ++t) {
        sum[r][t] = hn::MulAdd(chosen.grad, chosen.from(quads + r * job.row_step, t), sum[r][t]);
      }
    }
    winners += job.filters;
    grad += job.filters;
    quads += job.cell_step;
  }
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 32
    for (int t = 0; t < kTaps; ++t) hn::StoreU(sum[r][t], d, sums + r * row_sums + t * job.sums_row);
  }
  if (bias != nullptr) hn::StoreU(hn::Add(hn::LoadU(d, bias), all), d, bias);
}

using BlockKernel = void (*)(const Job&, const float*, float*, float*);
template <int kRows, size_t... kIndex>
constexpr std::array<BlockKernel, sizeof...(kIndex)> block_kernels(std::index_sequence<kIndex...>) {
  return {&add_block<kRows, static_cast<int>(kIndex) + 1>...};
}
// Three rows at a time suit the common kernel; of others one.
constexpr auto kOneRow = block_kernels<1>(std::make_index_sequence<12>());
constexpr auto kThreeRows = block_kernels<3>(std::make_index_sequence<kMostSums / 3>());

/// A vector of filters.
void add_filters(const Job& job) {
  const auto three = static_cast<int64_t>(kThreeRows.size());
  float* bias = job.sums + job.rows * job.line * job.sums_row;
  for (int64_t ky = 0; ky < job.rows;) {
    const int64_t rows = job.rows - ky >= 3 && (job.line <= three || kLanes < kFilterStep) ? 3 : 1;
    const int64_t most = rows == 3 ? three : static_cast<int64_t>(kOneRow.size());
    const int64_t blocks = (job.line + most - 1) / most;
    for (int64_t block = 0; block < blocks; ++block) {
      const int64_t begin = block * job.line / blocks;
      const int64_t taps = (block + 1) * job.line / blocks - begin;
      const auto index = static_cast<size_t>(taps - 1);
      (rows == 3 ? kThreeRows[index] : kOneRow[index])(job, job.quads + ky * job.row_step + 4 * begin,
                                                       job.sums + (ky * job.line + begin) * job.sums_row,
                                                       bias);
      bias = nullptr;  // which the first block has done
    }
    ky += rows;
  }
}

/// `rest`: room for a row's winners and gradients of one vector of filters.
void add_row_here(const Job& job, std::byte* rest) {
  int64_t f = 0;
  for (; f + kLanes <= job.filters; f += kLanes) {
    Job part = job;
    part.winners += f;
    part.grad += f;
    part.sums += f;
    add_filters(part);
  }
  if (f == job.filters) return;
  // The last filters are fewer than a vector: a copy has dead ones beside them.
  auto* const grad = reinterpret_cast<float*>(rest);
  auto* const winners = reinterpret_cast<uint8_t*>(grad + job.cells * kLanes);
  for (int64_t cell = 0; cell < job.cells; ++cell) {
    for (int64_t i = 0; i < kLanes; ++i) {
      const bool inside = f + i < job.filters;
      const int64_t at = cell * job.filters + f + i;
      grad[cell * kLanes + i] = inside ? job.grad[at] : 0.0F;
      winners[cell * kLanes + i] = inside ? job.winners[at] : FusedPool::kDead;
    }
  }
  Job part = job;
  part.winners = winners;
  part.grad = grad;
  part.filters = kLanes;
  part.sums += f;
  add_filters(part);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace nacre::quads
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace nacre {

namespace quads {

HWY_EXPORT(add_row_here);
HWY_EXPORT(make_quads);

static void add_row(const Job& job, std::byte* rest) {
  HWY_DYNAMIC_DISPATCH(add_row_here)(job, rest);
}
static void make(const float* a, const float* b, int64_t channels, int64_t count, float* to) {
  HWY_DYNAMIC_DISPATCH(make_quads)(a, b, channels, count, to);
}

static int64_t round_up(int64_t count) {
  return (count + kFilterStep - 1) / kFilterStep * kFilterStep;
}
static size_t bytes(int64_t floats) {
  return align_up(static_cast<size_t>(floats) * sizeof(float));
}

}  // namespace quads

QuadKernelGradient::QuadKernelGradient(const ConvGeometry& geometry, const FusedPool& pool)
    : g_(geometry), pool_(pool) {}

bool QuadKernelGradient::can(const ConvGeometry& geometry, const FusedPool& pool) {
  const auto plain = [](const WindowAxis& axis) { return axis.stride == 1 && axis.dilation == 1; };
  return geometry.groups == 1 && plain(geometry.window.y) && plain(geometry.window.x) && pool.of_pairs();
}

int64_t QuadKernelGradient::sums_floats() const {
  return (g_.patch() + 1) * quads::round_up(g_.filters);
}

size_t QuadKernelGradient::scratch_bytes() const {
  // The padded rows, their quads, and the last filters' gradients and winners.
  return quads::bytes((quad_rows() + 1) * padded_row()) +
         quads::bytes(quad_rows() * 4 * padded_row() + quads::kSlack) +
         quads::bytes(pool_.window.x.out * quads::kFilterStep * 2);
}

int64_t QuadKernelGradient::quad_rows() const {
  return 2 * (quads::kRowsTogether - 1) + g_.window.y.window;
}

void QuadKernelGradient::add(const float* image, const uint8_t* winners, const float* grad,
                             std::byte* scratch, float* sums) const {
  const int64_t taps = g_.window.x.window * g_.channels;
  const int64_t width = pool_.window.x.out;
  const int64_t row = padded_row();
  // The last column has no neighbour, and no tap.
  const int64_t used = row - g_.channels;
  auto* const padded = reinterpret_cast<float*>(scratch);
  std::byte* const after = scratch + quads::bytes((quad_rows() + 1) * row);
  auto* const all = reinterpret_cast<float*>(after);
  std::byte* const rest = after + quads::bytes(quad_rows() * 4 * row + quads::kSlack);
  for (int64_t begin = 0; begin < pool_.window.y.out; begin += quads::kRowsTogether) {
    const int64_t end = std::min(pool_.window.y.out, begin + quads::kRowsTogether);
    const int64_t rows = 2 * (end - begin - 1) + g_.window.y.window;
    copy_padded_rows(g_, image, g_.window.y.start(2 * begin), rows + 1, padded_width(), padded);
    for (int64_t y = 0; y < rows; ++y) {
      quads::make(padded + y * row, padded + (y + 1) * row, g_.channels, used, all + y * 4 * row);
    }
    // The next rows, or the next image's first.
    const int64_t cells = quads::kRowsTogether * width * g_.filters;
    const int64_t line = g_.window.x.in * g_.channels;
    const int64_t below = g_.window.y.start(2 * begin) + rows + 1;
    FetchAhead next_image(image + below * line, 2 * quads::kRowsTogether * line, end - begin);
    FetchAhead next_grad(grad + end * width * g_.filters, cells, end - begin);
    FetchAhead next_winners(winners + end * width * g_.filters, cells, end - begin);
    for (int64_t oy = begin; oy < end; ++oy) {
      next_image.next();
      next_grad.next();
      next_winners.next();
      const int64_t at = oy * width * g_.filters;
      quads::add_row(
          {width, g_.filters, quads::round_up(g_.filters), winners + at, grad + at,
           all + 2 * (oy - begin) * 4 * row, 2 * g_.channels * 4, 4 * row, g_.window.y.window, taps, sums},
          rest);
    }
  }
}

void QuadKernelGradient::write(const float* sums, float* grad_kernel, float* grad_bias) const {
  const int64_t row = quads::round_up(g_.filters);
  if (grad_kernel != nullptr) {
    for (int64_t i = 0; i < g_.patch(); ++i) {
      std::copy_n(sums + i * row, g_.filters, grad_kernel + i * g_.filters);
    }
  }
  if (grad_bias != nullptr) std::copy_n(sums + g_.patch() * row, g_.filters, grad_bias);
}

}  // namespace nacre
#endif  // HWY_ONCE
