// Pooling of 2 x 2 positions in registers, compiled once for every instruction set: foreach_target.h flips
// HWY_TARGET_TOGGLE.
#if defined(NACRE_LAYERS_POOL_PAIRS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef NACRE_LAYERS_POOL_PAIRS_INL_H
#undef NACRE_LAYERS_POOL_PAIRS_INL_H
#else
#define NACRE_LAYERS_POOL_PAIRS_INL_H
#endif

#include "engine/vectors-inl.h"
#include "layers/fetch_ahead.h"
#include "layers/pool_kernels.h"

HWY_BEFORE_NAMESPACE();
namespace nacre {
namespace HWY_NAMESPACE {
namespace {

using Bytes = hn::Rebind<uint8_t, Tag>;

/// Winners as bytes: dead ones where relu clipped, and where `largest` is NaN, which passes no gradient
/// either.
template <class Winner>
HWY_INLINE hn::Vec<Bytes> bury_clipped(Winner winner, Vector largest, bool relu) {
  const hn::RebindToSigned<Tag> di;
  const auto alive = hn::RebindMask(di, hn::Gt(largest, hn::Zero(Tag())));
  if (relu) winner = hn::IfThenElse(alive, winner, hn::Set(di, FusedPool::kDead));
  return hn::DemoteTo(Bytes(), winner);
}

/// Where one of four vectors may be NaN, which wins: the largest, and which that is.
HWY_NOINLINE inline void find_largest(const Vector* value, bool relu, Vector& largest,
                                      hn::Vec<Bytes>& winner) {
  const hn::RebindToSigned<Tag> di;
  largest = value[0];
  auto index = hn::Zero(di);
  for (int cell = 1; cell < 4; ++cell) {
    const auto wins = hn::Or(hn::Gt(value[cell], largest), hn::IsNaN(value[cell]));
    largest = hn::IfThenElse(wins, value[cell], largest);
    index = hn::IfThenElse(hn::RebindMask(di, wins), hn::Set(di, cell), index);
  }
  winner = bury_clipped(index, largest, relu);
}

/// Which of four vectors is the largest, where none is NaN; `upper` and `lower` are the larger of two each.
HWY_INLINE hn::Vec<Bytes> find_winner(const Vector* value, Vector upper, Vector lower, Vector largest,
                                      bool relu) {
  const auto of_upper = hn::Gt(value[1], value[0]);
  const auto of_lower = hn::Gt(value[3], value[2]);
  const auto is_lower = hn::Gt(lower, upper);
#if HWY_TARGET <= HWY_AVX3
  // Lanes of a mask are bits, whatever is chosen by it: bytes take a quarter of the time.
  const Bytes d;
  using Mask = hn::MFromD<Bytes>;
  const auto lower_index = hn::IfThenElse(Mask{of_lower.raw}, hn::Set(d, 3), hn::Set(d, 2));
  const auto upper_index = hn::IfThenElseZero(Mask{of_upper.raw}, hn::Set(d, 1));
  const auto winner = hn::IfThenElse(Mask{is_lower.raw}, lower_index, upper_index);
  if (!relu) return winner;
  const auto alive = hn::Gt(largest, hn::Zero(Tag()));
  return hn::IfThenElse(Mask{alive.raw}, winner, hn::Set(d, FusedPool::kDead));
#else
  const hn::RebindToSigned<Tag> d;
  const auto lower_index = hn::IfThenElse(hn::RebindMask(d, of_lower), hn::Set(d, 3), hn::Set(d, 2));
  const auto upper_index = hn::IfThenElseZero(hn::RebindMask(d, of_upper), hn::Set(d, 1));
  return bury_clipped(hn::IfThenElse(hn::RebindMask(d, is_lower), lower_index, upper_index), largest, relu);
#endif
}

/// Writes the largest of four vectors of sums with their bias after perhaps relu, as max_pool_rows would, to
/// element `at` and those after it.
HWY_INLINE void pool_pairs(const Vector* value, bool relu, const PooledCells& out, int64_t at) {
  const Tag d;
  // Of two that are equal Max gives the second.
  const Vector upper = hn::Max(value[1], value[0]);
  const Vector lower = hn::Max(value[3], value[2]);
  Vector largest = hn::Max(lower, upper);
  const Vector all = hn::Add(hn::Add(value[0], value[1]), hn::Add(value[2], value[3]));
  const bool nan = !hn::AllFalse(d, hn::IsNaN(all));
  hn::Vec<Bytes> winner_or_nan;
  if (nan) {
    const Vector copy[4] = {value[0], value[1], value[2], value[3]};
    Vector or_nan;
    find_largest(copy, relu, or_nan, winner_or_nan);
    largest = or_nan;
  }
  // NaN compares false, and stays.
  if (relu) largest = hn::IfThenElse(hn::Lt(largest, hn::Zero(d)), hn::Zero(d), largest);
  hn::StoreU(largest, d, out.data + at);
  if (out.winners == nullptr) return;
  auto winner = find_winner(value, upper, lower, largest, relu);
  if (nan) winner = winner_or_nan;
  hn::StoreU(winner, Bytes(), out.winners + at);
}

/// Asks for the vectors at kRows x kColumns cells, which will be written. So many rows at once, each for a
/// moment, are more than the hardware foresees, and a store waits for its line.
template <int64_t kRows, int64_t kColumns>
HWY_INLINE void ask_for_cells(const PooledCells& cells) {
#pragma GCC unroll 4
  for (int64_t i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (int64_t j = 0; j < kColumns; ++j) prefetch_to_write(cells.data + i * cells.row + j * cells.pixel);
    // One line has the winners of some cells side by side.
    if (cells.winners != nullptr) prefetch_to_write(cells.winners + i * cells.row);
  }
}

/// The gradients with respect to a pooled cell's four positions, before relu, at element `at` of which
/// `count` exist; zeros beyond.
HWY_INLINE void unpool_pairs(const float* grad, const uint8_t* winners, int64_t at, int64_t count,
                             Vector* four) {
  const Tag d;
  const hn::RebindToSigned<Tag> di;
  const hn::Rebind<uint8_t, decltype(di)> bytes;
  HWY_ALIGN uint8_t some[kLanes] = {};
  const uint8_t* from = winners + at;
  if (count < kLanes) from = static_cast<uint8_t*>(std::memcpy(some, from, static_cast<size_t>(count)));
  const auto winner = hn::PromoteTo(di, hn::LoadU(bytes, from));
  const Vector all = count >= kLanes ? hn::LoadU(d, grad + at)
                                     : Part{at, static_cast<size_t>(count) * sizeof(float)}.load(grad);
#pragma GCC unroll 4
  for (int cell = 0; cell < 4; ++cell) {
    four[cell] = hn::IfThenElseZero(hn::RebindMask(d, hn::Eq(winner, hn::Set(di, cell))), all);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace nacre
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
