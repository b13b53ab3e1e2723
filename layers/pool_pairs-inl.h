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

using WinnerBytes = hn::VFromD<hn::Rebind<uint8_t, Tag>>;

/// Where one of four vectors may be NaN, which wins: the largest, and which that is.
HWY_NOINLINE inline void find_largest(const Vector* value, Vector& largest, WinnerBytes& winner) {
  const hn::RebindToSigned<Tag> di;
  largest = value[0];
  auto index = hn::Zero(di);
  for (int cell = 1; cell < 4; ++cell) {
    const auto wins = hn::Or(hn::Gt(value[cell], largest), hn::IsNaN(value[cell]));
    largest = hn::IfThenElse(wins, value[cell], largest);
    index = hn::IfThenElse(hn::RebindMask(di, wins), hn::Set(di, cell), index);
  }
  winner = hn::DemoteTo(hn::Rebind<uint8_t, Tag>(), index);
}

/// Which of four vectors is the largest, where none is NaN; `upper` and `lower` are the larger of two each.
HWY_INLINE WinnerBytes find_winner(const Vector* value, Vector upper, Vector lower) {
  const hn::Rebind<uint8_t, Tag> bytes;
  const auto of_upper = hn::Gt(value[1], value[0]);
  const auto of_lower = hn::Gt(value[3], value[2]);
  const auto is_lower = hn::Gt(lower, upper);
#if HWY_TARGET <= HWY_AVX3
  // Lanes of a mask are bits, whatever is chosen by it: bytes take a quarter of the time.
  using Mask = hn::MFromD<decltype(bytes)>;
  return hn::IfThenElse(Mask{is_lower.raw},
                        hn::IfThenElse(Mask{of_lower.raw}, hn::Set(bytes, 3), hn::Set(bytes, 2)),
                        hn::IfThenElseZero(Mask{of_upper.raw}, hn::Set(bytes, 1)));
#else
  const hn::RebindToSigned<Tag> di;
  const auto lower_index = hn::IfThenElse(hn::RebindMask(di, of_lower), hn::Set(di, 3), hn::Set(di, 2));
  return hn::DemoteTo(bytes,
                      hn::IfThenElse(hn::RebindMask(di, is_lower), lower_index,
                                     hn::IfThenElseZero(hn::RebindMask(di, of_upper), hn::Set(di, 1))));
#endif
}

/// Winners, but dead ones where `largest` is not above zero.
HWY_INLINE WinnerBytes bury_clipped(WinnerBytes winner, Vector largest) {
  const hn::Rebind<uint8_t, Tag> bytes;
  const auto alive = hn::Gt(largest, hn::Zero(Tag()));
#if HWY_TARGET <= HWY_AVX3
  return hn::IfThenElse(hn::MFromD<decltype(bytes)>{alive.raw}, winner, hn::Set(bytes, FusedPool::kDead));
#else
  const hn::RebindToSigned<Tag> di;
  const auto dead = hn::IfThenZeroElse(hn::RebindMask(di, alive), hn::Set(di, FusedPool::kDead));
  return hn::Or(winner, hn::DemoteTo(bytes, dead));
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
  WinnerBytes winner_or_nan;
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
  WinnerBytes winner = find_winner(value, upper, lower);
  if (nan) winner = winner_or_nan;
  // No gradient passes NaN either.
  if (relu) winner = bury_clipped(winner, largest);
  hn::StoreU(winner, hn::Rebind<uint8_t, Tag>(), out.winners + at);
}

/// The gradient with respect to position `cell` of a pooled cell's four, before relu, at element `at` of
/// which `count` exist; zeros beyond.
HWY_INLINE Vector unpool_pairs(const float* grad, const uint8_t* winners, int64_t at, int64_t count,
                               int cell) {
  const Tag d;
  const hn::RebindToSigned<Tag> di;
  const hn::Rebind<uint8_t, decltype(di)> bytes;
  if (count >= kLanes) {
    const auto winner = hn::PromoteTo(di, hn::LoadU(bytes, winners + at));
    return hn::IfThenElseZero(hn::RebindMask(d, hn::Eq(winner, hn::Set(di, cell))), hn::LoadU(d, grad + at));
  }
  HWY_ALIGN uint8_t some[kLanes] = {};
  std::memcpy(some, winners + at, static_cast<size_t>(count));
  const auto winner = hn::PromoteTo(di, hn::LoadU(bytes, some));
  return hn::IfThenElseZero(hn::RebindMask(d, hn::Eq(winner, hn::Set(di, cell))),
                            Part{at, static_cast<size_t>(count) * sizeof(float)}.load(grad));
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace nacre
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
