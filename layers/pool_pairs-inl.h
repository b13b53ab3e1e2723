// Pooling of 2 x 2 positions in registers, compiled once for every instruction set: foreach_target.h flips
// HWY_TARGET_TOGGLE.
#if defined(NACRE_LAYERS_POOL_PAIRS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef NACRE_LAYERS_POOL_PAIRS_INL_H
#undef NACRE_LAYERS_POOL_PAIRS_INL_H
#else
#define NACRE_LAYERS_POOL_PAIRS_INL_H
#endif

#include "engine/vectors-inl.h"
#include "layers/pool_kernels.h"

HWY_BEFORE_NAMESPACE();
namespace nacre {
namespace HWY_NAMESPACE {
namespace {

using Winner = hn::VFromD<hn::RebindToSigned<Tag>>;

/// Where one of four vectors may be NaN, which wins: the largest, and which that is.
HWY_NOINLINE inline void find_largest(const Vector* value, Vector& largest, Winner& winner) {
  const hn::RebindToSigned<Tag> di;
  largest = value[0];
  winner = hn::Zero(di);
  for (int cell = 1; cell < 4; ++cell) {
    const auto wins = hn::Or(hn::Gt(value[cell], largest), hn::IsNaN(value[cell]));
    largest = hn::IfThenElse(wins, value[cell], largest);
    winner = hn::IfThenElse(hn::RebindMask(di, wins), hn::Set(di, cell), winner);
  }
}

/// Writes the largest of four vectors of sums with their bias after perhaps relu, as max_pool_rows would, to
/// element `at` and those after it.
HWY_INLINE void pool_pairs(const Vector* value, bool relu, const PooledCells& out, int64_t at) {
  const Tag d;
  const hn::RebindToSigned<Tag> di;
  const hn::Rebind<uint8_t, decltype(di)> bytes;
  // Of two that are equal Max gives the second.
  const Vector upper = hn::Max(value[1], value[0]);
  const Vector lower = hn::Max(value[3], value[2]);
  Vector largest = hn::Max(lower, upper);
  const Vector all = hn::Add(hn::Add(value[0], value[1]), hn::Add(value[2], value[3]));
  const bool nan = !hn::AllFalse(d, hn::IsNaN(all));
  Winner winner_or_nan;
  if (nan) {
    const Vector copy[4] = {value[0], value[1], value[2], value[3]};
    Vector or_nan;
    find_largest(copy, or_nan, winner_or_nan);
    largest = or_nan;
  }
  // NaN compares false, and stays.
  if (relu) largest = hn::IfThenElse(hn::Lt(largest, hn::Zero(d)), hn::Zero(d), largest);
  hn::StoreU(largest, d, out.data + at);
  if (out.winners == nullptr) return;
  const auto greater = [&](Vector a, Vector b) HWY_ATTR { return hn::RebindMask(di, hn::Gt(a, b)); };
  const auto of_upper = hn::IfThenElseZero(greater(value[1], value[0]), hn::Set(di, 1));
  const auto of_lower = hn::IfThenElse(greater(value[3], value[2]), hn::Set(di, 3), hn::Set(di, 2));
  auto winner = hn::IfThenElse(greater(lower, upper), of_lower, of_upper);
  if (nan) winner = winner_or_nan;
  // No gradient passes NaN either.
  if (relu) winner = hn::IfThenElse(greater(largest, hn::Zero(d)), winner, hn::Set(di, FusedPool::kDead));
  hn::StoreU(hn::DemoteTo(bytes, winner), bytes, out.winners + at);
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
  const Winner winner = hn::PromoteTo(di, hn::LoadU(bytes, from));
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
