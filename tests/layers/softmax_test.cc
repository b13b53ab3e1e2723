#include <gmock/gmock.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "layer_test.h"

namespace nacre {
namespace {

LayerCase layer(const Shape& shape) {
  return {"Softmax", {AttrMap{}}, {shape}, shape};
}

INSTANTIATE_TEST_SUITE_P(Softmax, LayerTest,
                         ::testing::Values(layer({1, 1}), layer({2, 5}), layer({5, 17}), layer({130, 3})));

INSTANTIATE_TEST_SUITE_P(
    Softmax, RefusalTest,
    ::testing::Values(RefusalCase{layer({2, 3, 3, 1}), "Flatten"}, RefusalCase{layer({2, 0}), "empty"},
                      RefusalCase{{"Softmax", {{{"axis", int64_t{1}}}}, {Shape{2, 3}}, {}}, "axis"}));

TEST(SoftmaxValues, WorkedByHand) {
  const auto y = forward_values(layer({1, 3}), {0, std::log(2.0F), std::log(5.0F)});
  EXPECT_NEAR(y[0], 1.0 / 8, 1e-6);
  EXPECT_NEAR(y[1], 2.0 / 8, 1e-6);
  EXPECT_NEAR(y[2], 5.0 / 8, 1e-6);
}

TEST(SoftmaxValues, LargeScoresDoNotOverflow) {
  const auto y = forward_values(layer({2, 2}), {10000, 10000, -10000, 10000});
  EXPECT_THAT(y, ::testing::ElementsAre(0.5F, 0.5F, 0, 1));
}

TEST(SoftmaxValues, NanPropagates) {
  const auto y = forward_values(layer({1, 3}), {1, std::numeric_limits<float>::quiet_NaN(), 2});
  for (const float p : y) EXPECT_TRUE(std::isnan(p));
}

}  // namespace
}  // namespace nacre
