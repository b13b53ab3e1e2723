#include "layers/sparse_input.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "engine/parallel.h"
#include "engine/tensor.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "layers/sparse_input.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
// Highway's ops, for the target that foreach_target.h chose.
#include <hwy/highway.h>

#include "engine/vectors-inl.h"

#ifndef NACRE_LAYERS_SPARSE_INPUT_SIZES
#define NACRE_LAYERS_SPARSE_INPUT_SIZES
namespace nacre::sparse_input {

constexpr int kKernel = 3;
constexpr int kTaps = kKernel * kKernel;
constexpr int kSide = kKernel + 1;  // of the square under a cell's four patches
constexpr int64_t kMostLanes = 16;
constexpr int64_t kWordFilters = 64;

/// Which of 64 filters won at each position of a cell.
struct LiveFilters {
  uint64_t at[4];
};

inline int64_t words(int64_t filters) {
  return (filters + kWordFilters - 1) / kWordFilters;
}

/// One image.
struct Job {
  const ConvGeometry* g;
  const FusedPool* pool;
  const uint8_t* winners;
  const float* grad;
  const float* packed;
  LiveFilters* live;  ///< [cells][words]
  float* carried;     ///< [2][columns][lanes]: rows that the next row of cells adds to
  float* grad_image;

  [[nodiscard]] int64_t cells() const { return pool->window.y.out * pool->window.x.out; }
  /// The columns under a row of cells.
  [[nodiscard]] int64_t columns() const { return 2 * pool->window.x.out + 2; }
};

}  // namespace nacre::sparse_input
#endif

HWY_BEFORE_NAMESPACE();
namespace nacre::sparse_input {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using nacre::HWY_NAMESPACE::kLanes;
using nacre::HWY_NAMESPACE::Part;
using nacre::HWY_NAMESPACE::Tag;
using nacre::HWY_NAMESPACE::Vector;
using nacre::HWY_NAMESPACE::Whole;

#if HWY_TARGET != HWY_SCALAR
/// Where kBytes filters from `f` on are live.
template <size_t kBytes>
HWY_INLINE void find_filters(const uint8_t* winners, int64_t f, LiveFilters& live) {
  const hn::FixedTag<uint8_t, kBytes> bytes;
  const auto winner = hn::LoadU(bytes, winners + f);
#pragma GCC unroll 4
  for (int position = 0; position < 4; ++position) {
    uint8_t bits[8] = {};
    hn::StoreMaskBits(bytes, hn::Eq(winner, hn::Set(bytes, static_cast<uint8_t>(position))), bits);
    uint64_t mask = 0;
    std::memcpy(&mask, bits, sizeof(mask));  // of a machine whose bytes begin with the lowest
    live.at[position] |= mask << f;
  }
}
#endif

/// Of up to 64 filters.
HWY_INLINE LiveFilters live_filters(const uint8_t* winners, int64_t filters) {
  LiveFilters live{};
  int64_t f = 0;
#if HWY_TARGET <= HWY_AVX3
  if (filters == 64) {
    find_filters<64>(winners, 0, live);
    return live;
  }
#endif
#if HWY_TARGET <= HWY_AVX2
  for (; f + 32 <= filters; f += 32) find_filters<32>(winners, f, live);
#endif
#if HWY_TARGET != HWY_SCALAR
  for (; f + 16 <= filters; f += 16) find_filters<16>(winners, f, live);
#endif
  for (; f < filters; ++f) {
    if (winners[f] != FusedPool::kDead) live.at[winners[f]] |= uint64_t{1} << f;
  }
  return live;
}

/// Where every cell's live filters are.
void find_live(const Job& job) {
  const int64_t filters = job.g->filters;
  LiveFilters* live = job.live;
  for (int64_t cell = 0; cell < job.cells(); ++cell) {
    const uint8_t* winners = job.winners + cell * filters;
    for (int64_t f = 0; f < filters; f += kWordFilters) {
      *live++ = live_filters(winners + f, std::min(kWordFilters, filters - f));
    }
  }
}

using Square = Vector[kSide][kSide];

/// Adds the patches of one cell that won at position (kY, kX).
template <int kY, int kX>
HWY_INLINE void add_live(uint64_t live, const float* grad, const float* kernels, Square& square) {
  const Tag d;
  while (live != 0) {
    const int filter = std::countr_zero(live);
    live &= live - 1;
    const Vector factor = hn::Set(d, grad[filter]);
    const float* kernel = kernels + filter * (kTaps * kLanes);
#pragma GCC unroll 9
    for (int tap = 0; tap < kTaps; ++tap) {
      Vector& sum = square[kY + tap / kKernel][kX + tap % kKernel];
      sum = hn::MulAdd(factor, hn::Load(d, kernel + tap * kLanes), sum);
    }
  }
}

/// Some channels of one row of the image that is done.
struct Row {
  float* data;  ///< null outside the image
  int64_t pixel;
  int64_t before;
  int64_t width;

  /// `column` counts from the padding's first. No function is called here: the square would leave its
  /// registers.
  template <class Channels>
  HWY_INLINE void store(const Channels& channels, Vector sum, int64_t column) const {
    const int64_t x = column - before;
    if (data != nullptr && x >= 0 && x < width) channels.store(sum, data + x * pixel);
  }
};

Row row_of(const Job& job, int64_t row, int64_t channel) {
  const WindowAxis& x = job.g->window.x;
  const int64_t channels = job.g->channels;
  const int64_t y = row - job.g->window.y.before;
  const bool inside = y >= 0 && y < job.g->window.y.in;
  return {inside ? job.grad_image + y * x.in * channels + channel : nullptr, channels, x.before, x.in};
}

/// One row of cells, one vector of channels: Whole or a Part.
template <class Channels>
void add_row(const Job& job, int64_t oy, const float* kernels, const Channels& channels, const Row& first,
             const Row& second) {
  const Tag d;
  const int64_t filters = job.g->filters;
  const int64_t count = words(filters);
  const int64_t width = job.pool->window.x.out;
  float* const carried[2] = {job.carried, job.carried + job.columns() * kLanes};
  Square square;
  const auto enter = [&](int to, int64_t column) HWY_ATTR {
    square[0][to] = hn::Load(d, carried[0] + column * kLanes);
    square[1][to] = hn::Load(d, carried[1] + column * kLanes);
    square[2][to] = square[3][to] = hn::Zero(d);
  };
  const auto leave = [&](int from, int64_t column) HWY_ATTR {
    first.store(channels, square[0][from], column);
    second.store(channels, square[1][from], column);
    hn::Store(square[2][from], d, carried[0] + column * kLanes);
    hn::Store(square[3][from], d, carried[1] + column * kLanes);
  };
  enter(0, 0);
  enter(1, 1);
  for (int64_t ox = 0; ox < width; ++ox) {
    enter(2, 2 * ox + 2);
    enter(3, 2 * ox + 3);
    const int64_t cell = oy * width + ox;
    const LiveFilters* live = job.live + cell * count;
    const float* grad = job.grad + cell * filters;
    const float* word_kernels = kernels;
    for (int64_t word = 0; word < count; ++word) {
      add_live<0, 0>(live[word].at[0], grad, word_kernels, square);
      add_live<0, 1>(live[word].at[1], grad, word_kernels, square);
      add_live<1, 0>(live[word].at[2], grad, word_kernels, square);
      add_live<1, 1>(live[word].at[3], grad, word_kernels, square);
      grad += kWordFilters;
      word_kernels += kWordFilters * kTaps * kLanes;
    }
    leave(0, 2 * ox);
    leave(1, 2 * ox + 1);
#pragma GCC unroll 4
    for (auto& row : square) {
      row[0] = row[2];
      row[1] = row[3];
    }
  }
  leave(0, 2 * width);
  leave(1, 2 * width + 1);
}

/// Zeros for the inputs under no cell.
void clear_rest(const Job& job) {
  const WindowAxis& x = job.g->window.x;
  const int64_t channels = job.g->channels;
  const int64_t covered_rows = 2 * job.pool->window.y.out + 2 - job.g->window.y.before;
  const int64_t covered = job.columns() - x.before;
  for (int64_t y = 0; y < job.g->window.y.in; ++y) {
    const int64_t from = y < covered_rows ? std::min(covered, x.in) : 0;
    float* const row = job.grad_image + y * x.in * channels;
    std::fill(row + from * channels, row + x.in * channels, 0.0F);
  }
}

/// All rows of cells, one vector of channels from `channel` on.
template <class Channels>
void add_rows(const Job& job, int64_t channel, const float* kernels, const Channels& channels) {
  std::fill(job.carried, job.carried + 2 * job.columns() * kLanes, 0.0F);
  const int64_t rows = job.pool->window.y.out;
  for (int64_t oy = 0; oy < rows; ++oy) {
    add_row(job, oy, kernels, channels, row_of(job, 2 * oy, channel), row_of(job, 2 * oy + 1, channel));
  }
  for (int64_t r = 0; r < 2; ++r) {
    const Row last = row_of(job, 2 * rows + r, channel);
    for (int64_t column = 0; column < job.columns(); ++column) {
      last.store(channels, hn::Load(Tag(), job.carried + (r * job.columns() + column) * kLanes), column);
    }
  }
}

void compute_here(const Job& job) {
  find_live(job);
  clear_rest(job);
  const float* kernels = job.packed;
  for (int64_t channel = 0; channel < job.g->channels; channel += kLanes) {
    const int64_t count = job.g->channels - channel;
    if (count >= kLanes) {
      add_rows(job, channel, kernels, Whole{0});
    } else {
      add_rows(job, channel, kernels, Part{0, static_cast<size_t>(count) * sizeof(float)});
    }
    kernels += job.g->filters * kTaps * kLanes;
  }
}

/// [vectors of channels][filters][taps][lanes], of filters [begin, end).
void pack_here(const ConvGeometry& g, const float* kernel, int64_t begin, int64_t end, float* packed) {
  for (int64_t channel = 0; channel < g.channels; channel += kLanes) {
    const int64_t lanes = std::min(kLanes, g.channels - channel);
    for (int64_t tap = 0; tap < kTaps; ++tap) {
      float* const to = packed + (channel * g.filters * kTaps + tap * kLanes);
      for (int64_t lane = 0; lane < kLanes; ++lane) {
        const float* const from = kernel + (tap * g.channels + channel + lane) * g.filters;
        for (int64_t f = begin; f < end; ++f) {
          to[f * kTaps * kLanes + lane] = lane < lanes ? from[f] : 0.0F;
        }
      }
    }
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace nacre::sparse_input
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace nacre {

namespace sparse_input {

HWY_EXPORT(compute_here);
HWY_EXPORT(pack_here);

static void run(const Job& job) {
  HWY_DYNAMIC_DISPATCH(compute_here)(job);
}
static void pack(const ConvGeometry& g, const float* kernel, int64_t begin, int64_t end, float* packed) {
  HWY_DYNAMIC_DISPATCH(pack_here)(g, kernel, begin, end, packed);
}

}  // namespace sparse_input

SparseInputGradient::SparseInputGradient(const ConvGeometry& geometry, const FusedPool& pool)
    : g_(geometry), pool_(pool) {}

bool SparseInputGradient::can(const ConvGeometry& geometry, const FusedPool& pool) {
  const auto plain = [](const WindowAxis& axis) {
    return axis.window == sparse_input::kKernel && axis.stride == 1 && axis.dilation == 1;
  };
  return geometry.groups == 1 && plain(geometry.window.y) && plain(geometry.window.x) && pool.of_pairs();
}

int64_t SparseInputGradient::packed_floats() const {
  const int64_t lanes = sparse_input::kMostLanes;
  return (g_.channels + lanes - 1) / lanes * lanes * g_.filters * sparse_input::kTaps;
}

void SparseInputGradient::pack(const float* kernel, int threads, float* packed) const {
  constexpr int64_t kFilters = 16;
  parallel_for(chunks_of(g_.filters, kFilters), threads, [&](int64_t chunk, int /*worker*/) {
    const int64_t end = std::min(g_.filters, (chunk + 1) * kFilters);
    sparse_input::pack(g_, kernel, chunk * kFilters, end, packed);
  });
}

size_t SparseInputGradient::scratch_bytes() const {
  const int64_t cells = pool_.window.y.out * pool_.window.x.out;
  const int64_t carried = 2 * (2 * pool_.window.x.out + 2) * sparse_input::kMostLanes;
  return align_up(static_cast<size_t>(cells * sparse_input::words(g_.filters)) *
                  sizeof(sparse_input::LiveFilters)) +
         align_up(static_cast<size_t>(carried) * sizeof(float));
}

void SparseInputGradient::compute(const uint8_t* winners, const float* grad, const float* packed,
                                  std::byte* scratch, float* grad_image) const {
  using sparse_input::LiveFilters;
  const int64_t cells = pool_.window.y.out * pool_.window.x.out;
  const size_t live_bytes =
      align_up(static_cast<size_t>(cells * sparse_input::words(g_.filters)) * sizeof(LiveFilters));
  const sparse_input::Job job{&g_,
                              &pool_,
                              winners,
                              grad,
                              packed,
                              reinterpret_cast<LiveFilters*>(scratch),
                              reinterpret_cast<float*>(scratch + live_bytes),
                              grad_image};
  sparse_input::run(job);
}

}  // namespace nacre
#endif  // HWY_ONCE
