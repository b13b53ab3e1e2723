#include "engine/machine_peak.h"

#include <gtest/gtest.h>

#include <cmath>

namespace nacre {
namespace {

TEST(MachinePeak, IsMeasuredOnceAndIsANumber) {
  for (const auto measure : {peak_flops, peak_bandwidth}) {
    const double once = measure(1);
    EXPECT_GT(once, 0);
    EXPECT_TRUE(std::isfinite(once));
    EXPECT_EQ(measure(1), once) << "a share of it must not change within a process";
  }
}

}  // namespace
}  // namespace nacre
