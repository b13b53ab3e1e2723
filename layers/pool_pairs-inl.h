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

/// The largest of four vectors, and which that is.
struct Largest {
  Vector value;
  hn::VFromD<hn::RebindToSigned<Tag>> winner;
};

/// Where one may be NaN, which wins.
HWY_NOINLINE Largest largest_or_nan(const Vector* value) {
  const hn::RebindToSigned<Tag> di;
  Largest largest{value[0], hn::Zero(di)};
  for (int cell = 1; cell < 4; ++cell) {
    const auto wins = hn::Or(hn::Gt(value[cell], largest.value), hn::IsNaN(value[cell]));
    largest.value = hn::IfThenElse(wins, value[cell], largest.value);
    largest.winner = hn::IfThenElse(hn::RebindMask(di, wins), hn::Set(di, cell), largest.winner);
  }
  return largest;
}

HWY_INLINE Largest largest_of(const Vector* value) {
  const Tag d;
  const hn::RebindToSigned<Tag> di;
  const Vector all = hn::Add(hn::Add(value[0], value[1]), hn::Add(value[2], value[3]));
  if (HWY_UNLIKELY(!hn::AllFalse(d, hn::IsNaN(all)))) {
    const Vector copy[4] = {value[0], value[1], value[2], value[3]};
    return largest_or_nan(copy);
  }
  const auto greater = [&](Vector a, Vector b) HWY_ATTR { return hn::RebindMask(di, hn::Gt(a, b)); };
  // Of two that are equal Max gives the second.
  const Vector upper = hn::Max(value[1], value[0]);
  const Vector lower = hn::Max(value[3], value[2]);
  const auto of_upper = hn::IfThenElseZero(greater(value[1], value[0]), hn::Set(di, 1));
  const auto of_lower = hn::IfThenElse(greater(value[3], value[2]), hn::Set(di, 3), hn::Set(di, 2));
  return {hn::Max(lower, upper), hn::IfThenElse(greater(lower, upper), of_lower, of_upper)};
}

/// Writes the largest of four vectors of sums with their bias after perhaps relu, as max_pool_rows would, to
/// element `at` and those after it, of which `count` exist.
HWY_INLINE void pool_pairs(const Vector* value, bool relu, const PooledCells& out, int64_t at,
                           int64_t count) {
  const Tag d;
  const hn::RebindToSigned<Tag> di;
  const hn::Rebind<uint8_t, decltype(di)> bytes;
  auto [largest, winner] = largest_of(value);
  if (relu) {
    // NaN compares false: it stays, and no gradient passes.
    const auto alive = hn::RebindMask(di, hn::Gt(largest, hn::Zero(d)));
    winner = hn::IfThenElse(alive, winner, hn::Set(di, FusedPool::kDead));
    largest = hn::IfThenElse(hn::Lt(largest, hn::Zero(d)), hn::Zero(d), largest);
  }
  const bool whole = count >= kLanes;
  if (whole) {
    hn::StoreU(largest, d, out.data + at);
  } else {
    Part{at, static_cast<size_t>(count) * sizeof(float)}.store(largest, out.data);
  }
  if (out.winners == nullptr) return;
  const auto narrow = hn::DemoteTo(bytes, winner);
  if (whole) {
    hn::StoreU(narrow, bytes, out.winners + at);
  } else {
    HWY_ALIGN uint8_t some[kLanes];
    hn::StoreU(narrow, bytes, some);
    std::memcpy(out.winners + at, some, static_cast<size_t>(count));
  }
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
