#include "layers/quad_gradient.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "layers/aligned_floats.h"
#include "layers/fetch_ahead.h"
#include "layers/quad_windows.h"

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
constexpr int64_t kRowsTogether = 8;  // of pooled cells: they share rows of planes

/// One row of pooled cells.
struct Job {
  int64_t cells;
  int64_t filters;
  int64_t sums_row;  ///< floats from one tap's sums to the next's
  const uint8_t* winners;
  const float* grad;
  const float* windows;  ///< [rows][columns][channels][kSide][kSide], from the first cell's on
  int64_t window_row;    ///< floats from one row of them to the next
  int64_t channels;
  int64_t rows;  ///< of the kernel
  int64_t columns;
  float* sums;
};

/// Rows or columns of a kernel whose quads lie in the same windows: the first three, then two each. Windows
/// begin two inputs apart.
struct Taps {
  int64_t begin;
  int64_t end;
  int64_t window;
  int64_t first;  ///< of the window's rows or columns: that of tap `begin` in the upper left of its quad
};
constexpr Taps taps_of_window(int64_t window, int64_t kernel) {
  const int64_t first = window > 0 ? 1 : 0;
  return {2 * window + first, std::min(kernel, 2 * window + kSide - 1), window, first};
}
constexpr int64_t windows_of(int64_t kernel) {
  return std::max<int64_t>(1, kernel / 2);
}

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
using Integers = hn::RebindToSigned<Tag>;

// Rows of the kernel whose sums stay in registers, beside a gradient and its places: all of a window, or one.
constexpr int kMostRows = kLanes >= kWindow ? 3 : 1;
constexpr int kMostColumns = 3;
constexpr int kMostChannels = 3;

/// Where in a quad the winners of a vector of filters are: 0, 1 and, behind a row of the window, 4, 5;
/// negative for the dead. No masks: a comparison takes as long as a multiply-add.
HWY_INLINE hn::Vec<Integers> places_of(const uint8_t* winners) {
  const hn::Rebind<uint8_t, Integers> bytes;
  const auto winner = hn::LoadU(bytes, winners);
  static_assert(kSide == 4 && FusedPool::kDead == 255);  // which stays what it is
  const auto place = hn::SaturatedAdd(winner, hn::And(winner, hn::Set(bytes, 2)));
  return hn::PromoteTo(Integers(), hn::BitCast(hn::Rebind<int8_t, Integers>(), place));
}

/// The gradients of a cell for a vector of filters, and where each has its winner. The dead have gradients of
/// zero, for the first of the quad.
struct Chosen {
  Vector grad;
  hn::Vec<Integers> place;

  HWY_INLINE Chosen(hn::Vec<Integers> places, const float* grads) {
    const auto dead = hn::ShiftRight<31>(places);
    grad = hn::AndNot(hn::BitCast(Tag(), dead), hn::LoadU(Tag(), grads));
    place = hn::AndNot(dead, places);
  }
};

/// What each filter's winner has in the quad at `quad`. Both of its rows lie within eight floats: half a
/// vector of AVX-512, which is loaded in half the time.
HWY_INLINE Vector winners_of(const float* quad, const Chosen& chosen) {
  const Tag d;
#if HWY_TARGET <= HWY_AVX3
  const Vector table = hn::ZeroExtendVector(d, hn::LoadU(hn::Half<Tag>(), quad));
  return hn::TableLookupLanes(table, hn::IndicesFromVec(d, chosen.place));
#elif HWY_TARGET == HWY_AVX2
  return hn::TableLookupLanes(hn::LoadU(d, quad), hn::IndicesFromVec(d, chosen.place));
#else
  return hn::GatherIndex(d, quad, chosen.place);
#endif
}

/// Sums of kRows x kColumns taps and kChannels channels of a vector of filters.
struct Block {
  const float* windows;  ///< from the quad of the first tap on
  float* sums;
  float* bias;  ///< null if another block adds the gradients up
};

template <int kRows, int kColumns, int kChannels>
void add_block(const Job& job, const Block& block) {
  const Tag d;
  const int64_t column_sums = job.channels * job.sums_row;
  const int64_t row_sums = job.columns * column_sums;
  const auto sums = [&](int tap, int c) {
    return block.sums + tap / kColumns * row_sums + tap % kColumns * column_sums + c * job.sums_row;
  };
  Vector sum[kRows * kColumns][kChannels];
#pragma GCC unroll 16
  for (int tap = 0; tap < kRows * kColumns; ++tap) {
#pragma GCC unroll 4
    for (int c = 0; c < kChannels; ++c) sum[tap][c] = hn::LoadU(d, sums(tap, c));
  }
  Vector all = hn::Zero(d);
  const uint8_t* winners = job.winners;
  const float* grad = job.grad;
  const float* windows = block.windows;
  auto places = places_of(winners);
  for (int64_t left = job.cells; left > 0; --left) {
    const Chosen chosen(places, grad);
    // Early, or permutations would wait for them.
    winners += left > 1 ? job.filters : 0;
    places = places_of(winners);
    all = hn::Add(all, chosen.grad);
#pragma GCC unroll 16
    for (int tap = 0; tap < kRows * kColumns; ++tap) {
      const float* const quads = windows + tap / kColumns * kSide + tap % kColumns;
#pragma GCC unroll 4
      for (int c = 0; c < kChannels; ++c) {
        sum[tap][c] = hn::MulAdd(chosen.grad, winners_of(quads + c * kWindow, chosen), sum[tap][c]);
      }
    }
    grad += job.filters;
    windows += job.channels * kWindow;
  }
#pragma GCC unroll 16
  for (int tap = 0; tap < kRows * kColumns; ++tap) {
#pragma GCC unroll 4
    for (int c = 0; c < kChannels; ++c) hn::StoreU(sum[tap][c], d, sums(tap, c));
  }
  if (block.bias != nullptr) hn::StoreU(hn::Add(hn::LoadU(d, block.bias), all), d, block.bias);
}

using BlockKernel = void (*)(const Job&, const Block&);
/// By rows, columns and channels.
template <size_t... kIndex>
constexpr std::array<BlockKernel, sizeof...(kIndex)> block_kernels(std::index_sequence<kIndex...>) {
  return {&add_block<kIndex / (kMostColumns * kMostChannels) + 1, kIndex / kMostChannels % kMostColumns + 1,
                     kIndex % kMostChannels + 1>...};
}
constexpr auto kBlocks =
    block_kernels(std::make_index_sequence<size_t{kMostRows} * kMostColumns * kMostChannels>());

/// A vector of filters.
void add_filters(const Job& job) {
  float* bias = job.sums + job.rows * job.columns * job.channels * job.sums_row;
  const int64_t parts = (job.channels + kMostChannels - 1) / kMostChannels;
  // Taps [y, ..) x those of x, all channels.
  const auto add_rows = [&](const Taps& down, int64_t y, int64_t rows, const Taps& x) {
    const int64_t columns = x.end - x.begin;
    const int64_t in_window = (down.first + y - down.begin) * kSide + x.first;
    const float* const windows =
        job.windows + down.window * job.window_row + x.window * job.channels * kWindow + in_window;
    for (int64_t part = 0; part < parts; ++part) {
      const int64_t c = part * job.channels / parts;
      const int64_t channels = (part + 1) * job.channels / parts - c;
      const int64_t index = ((rows - 1) * kMostColumns + columns - 1) * kMostChannels + channels - 1;
      const int64_t tap = y * job.columns + x.begin;
      kBlocks[static_cast<size_t>(index)](
          job, {windows + c * kWindow, job.sums + (tap * job.channels + c) * job.sums_row, bias});
      bias = nullptr;  // which the first block has done
    }
  };
  for (int64_t i = 0; i < windows_of(job.rows); ++i) {
    const Taps y = taps_of_window(i, job.rows);
    for (int64_t j = 0; j < windows_of(job.columns); ++j) {
      const Taps x = taps_of_window(j, job.columns);
      for (int64_t row = y.begin; row < y.end; row += kMostRows) {
        add_rows(y, row, std::min<int64_t>(kMostRows, y.end - row), x);
      }
    }
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

static void add_row(const Job& job, std::byte* rest) {
  HWY_DYNAMIC_DISPATCH(add_row_here)(job, rest);
}

static int64_t round_up(int64_t count) {
  return (count + kFilterStep - 1) / kFilterStep * kFilterStep;
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

int64_t QuadKernelGradient::window_columns() const {
  return pool_.window.x.out + quads::windows_of(g_.window.x.window) - 1;
}

int64_t QuadKernelGradient::plane_floats() const {
  const int64_t rows = quads::kRowsTogether + quads::windows_of(g_.window.y.window) - 1;
  return (2 * rows + 2) * (2 * window_columns() + 2) * g_.channels;
}

int64_t QuadKernelGradient::window_floats() const {
  // Blocks of large kernels begin within a window and read a vector.
  return quads::windows_of(g_.window.y.window) * window_columns() * g_.channels * quads::kWindow +
         quads::kWindow;
}

size_t QuadKernelGradient::scratch_bytes() const {
  // Planes, a row of cells' windows, and the last filters' gradients and winners.
  return float_bytes(plane_floats()) + float_bytes(window_floats()) +
         float_bytes(pool_.window.x.out * quads::kFilterStep * 2);
}

void QuadKernelGradient::add(const float* image, const uint8_t* winners, const float* grad,
                             std::byte* scratch, float* sums) const {
  const int64_t width = pool_.window.x.out;
  const int64_t plane = 2 * window_columns() + 2;
  const int64_t window_rows = quads::windows_of(g_.window.y.window);
  const int64_t window_row = window_columns() * g_.channels * quads::kWindow;
  auto* const planes = reinterpret_cast<float*>(scratch);
  auto* const windows = reinterpret_cast<float*>(scratch + float_bytes(plane_floats()));
  std::byte* const rest = scratch + float_bytes(plane_floats()) + float_bytes(window_floats());
  for (int64_t begin = 0; begin < pool_.window.y.out; begin += quads::kRowsTogether) {
    const int64_t end = std::min(pool_.window.y.out, begin + quads::kRowsTogether);
    const int64_t rows = 2 * (end - begin + window_rows);
    quads::copy_planes(g_, image, g_.window.y.start(2 * begin), rows, plane, planes);
    // The next rows, or the next image's first.
    const int64_t cells = quads::kRowsTogether * width * g_.filters;
    const int64_t line = g_.window.x.in * g_.channels;
    const int64_t below = g_.window.y.start(2 * begin) + rows;
    FetchAhead next_image(image + below * line, 2 * quads::kRowsTogether * line, end - begin);
    FetchAhead next_grad(grad + end * width * g_.filters, cells, end - begin);
    FetchAhead next_winners(winners + end * width * g_.filters, cells, end - begin);
    for (int64_t oy = begin; oy < end; ++oy) {
      next_image.next();
      next_grad.next();
      next_winners.next();
      for (int64_t i = 0; i < window_rows; ++i) {
        quads::make_windows(planes + 2 * (oy - begin + i) * g_.channels * plane, g_.channels,
                            window_columns(), windows + i * window_row);
      }
      const int64_t at = oy * width * g_.filters;
      quads::add_row({width, g_.filters, quads::round_up(g_.filters), winners + at, grad + at, windows,
                      window_row, g_.channels, g_.window.y.window, g_.window.x.window, sums},
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
