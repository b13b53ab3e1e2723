#include "engine/philox_kernel.h"

#include <algorithm>

#include "engine/random.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/philox_kernel.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
// Highway's ops, for the target that foreach_target.h chose.
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace nacre {
namespace HWY_NAMESPACE {
namespace {

void philox_blocks_here(std::array<uint32_t, 2> key, uint64_t first, std::array<uint32_t, 2> high,
                        uint64_t blocks, uint32_t* out) {
  uint64_t done = 0;
#if HWY_TARGET != HWY_SCALAR  // where a vector is one element
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::ScalableTag<uint64_t> wide;
  const hn::Repartition<uint32_t, decltype(wide)> halves;
  const uint64_t lanes = hn::Lanes(wide);
  const auto multiplier0 = hn::Set(halves, kPhiloxMultiplier0);
  const auto multiplier1 = hn::Set(halves, kPhiloxMultiplier1);
  // A word of a counter is the lower half of a lane; what is in the upper half never counts.
  const auto times = [&](auto word, auto multiplier)
                         HWY_ATTR { return hn::MulEven(hn::BitCast(halves, word), multiplier); };
  for (; blocks - done >= lanes; done += lanes) {
    const auto block = hn::Add(hn::Set(wide, first + done), hn::Iota(wide, 0));
    auto word0 = block;
    auto word1 = hn::ShiftRight<32>(block);
    auto word2 = hn::Set(wide, high[0]);
    auto word3 = hn::Set(wide, high[1]);
    uint32_t key0 = key[0];
    uint32_t key1 = key[1];
    for (int round = 0; round < kPhiloxRounds; ++round) {
      const auto product0 = times(word0, multiplier0);
      const auto product1 = times(word2, multiplier1);
      word0 = hn::Xor(hn::Xor(hn::ShiftRight<32>(product1), word1), hn::Set(wide, key0));
      word1 = product1;
      word2 = hn::Xor(hn::Xor(hn::ShiftRight<32>(product0), word3), hn::Set(wide, key1));
      word3 = product0;
      key0 += kPhiloxWeyl0;
      key1 += kPhiloxWeyl1;
    }
    const auto lower = hn::Set(wide, uint64_t{0xFFFFFFFF});
    HWY_ALIGN uint64_t pairs[2][hn::MaxLanes(wide)];
    hn::Store(hn::Or(hn::And(word0, lower), hn::ShiftLeft<32>(word1)), wide, pairs[0]);
    hn::Store(hn::Or(hn::And(word2, lower), hn::ShiftLeft<32>(word3)), wide, pairs[1]);
    for (uint64_t i = 0; i < lanes; ++i) {
      uint32_t* to = out + 4 * (done + i);
      for (size_t pair = 0; pair < 2; ++pair) {
        to[2 * pair] = static_cast<uint32_t>(pairs[pair][i]);
        to[2 * pair + 1] = static_cast<uint32_t>(pairs[pair][i] >> 32U);
      }
    }
  }
#endif
  for (; done < blocks; ++done) {
    const uint64_t block = first + done;
    const auto words =
        philox(key, {static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32U), high[0], high[1]});
    std::copy(words.begin(), words.end(), out + 4 * done);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace nacre
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace nacre {

HWY_EXPORT(philox_blocks_here);

void philox_blocks(std::array<uint32_t, 2> key, uint64_t first, std::array<uint32_t, 2> high, uint64_t blocks,
                   uint32_t* out) {
  HWY_DYNAMIC_DISPATCH(philox_blocks_here)(key, first, high, blocks, out);
}

}  // namespace nacre
#endif  // HWY_ONCE
