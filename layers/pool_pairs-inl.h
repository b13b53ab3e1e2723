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

/// Writes the largest of four vectors of sums after bias and perhaps relu, as max_pool_rows would, to element
/// `at` and those after it, of which `count` exist.
HWY_INLINE void pool_pairs(const Vector* sums, Vector bias, bool relu, const PooledCells& out, int64_t at,
                           int64_t count) {
  const Tag d;
  const hn::RebindToSigned<Tag> di;
  const hn::Rebind<uint8_t, decltype(di)> bytes;
  Vector largest = hn::Add(sums[0], bias);
  auto winner = hn::Zero(di);
#pragma GCC unroll 4
  for (int cell = 1; cell < 4; ++cell) {
    const Vector value = hn::Add(sums[cell], bias);
    const auto wins = hn::Or(hn::Gt(value, largest), hn::IsNaN(value));
    largest = hn::IfThenElse(wins, value, largest);
    winner = hn::IfThenElse(hn::RebindMask(di, wins), hn::Set(di, cell), winner);
  }
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
