#include "engine/finite.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "engine/random.h"

namespace nacre {
namespace {

TEST(Finite, FindsWhatIsNotWhereverItStands) {
  const std::vector<float> bad = {std::numeric_limits<float>::quiet_NaN(),
                                  std::numeric_limits<float>::infinity(),
                                  -std::numeric_limits<float>::infinity()};
  const RandomStream stream(7, 0);
  for (int64_t n = 0; n < 150; ++n) {
    std::vector<float> values(static_cast<size_t>(n) + 1);
    for (size_t i = 0; i < values.size(); ++i) {
      values[i] = static_cast<float>(stream.bits(i) % 1000) * (i % 2 == 0 ? 1e-42F : -3e35F);
    }
    // From the second on: addresses that are no multiple of a vector.
    float* const x = values.data() + 1;
    EXPECT_TRUE(all_finite(n, x)) << n;
    for (int64_t i = 0; i < n; ++i) {
      const float before = std::exchange(x[i], bad[static_cast<size_t>(i) % bad.size()]);
      EXPECT_FALSE(all_finite(n, x)) << i << " of " << n;
      x[i] = before;
    }
  }
  const std::vector<float> edges = {std::numeric_limits<float>::max(), std::numeric_limits<float>::lowest(),
                                    std::numeric_limits<float>::denorm_min(), -0.0F};
  EXPECT_TRUE(all_finite(static_cast<int64_t>(edges.size()), edges.data()));
}

}  // namespace
}  // namespace nacre
