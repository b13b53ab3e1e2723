#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "layer_test.h"

namespace nacre {
namespace {

LayerCase layer(const Shape& shape) {
  return {"ReLU", {AttrMap{}}, {shape}, shape};
}

INSTANTIATE_TEST_SUITE_P(ReLU, LayerTest,
                         ::testing::Values(layer({1, 1}), layer({2, 5, 7, 3}), layer({5, 13, 3, 17}),
                                           layer({3}), layer({5, 9001})));

INSTANTIATE_TEST_SUITE_P(ReLU, RefusalTest,
                         ::testing::Values(RefusalCase{layer({2, 0}), "empty"},
                                           RefusalCase{{"ReLU", {{{"max_value", 6.0}}}, {Shape{2, 3}}, {}},
                                                       "max_value"}));

TEST(ReluValues, ClipsAndLetsNanPass) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const bool reference : {false, true}) {
    const auto y = forward_values(layer({1, 9}), {-1, 0, 2, nan, -3, -0.5F, 7, 8, nan}, {}, reference);
    EXPECT_THAT(std::vector<float>(y.begin(), y.begin() + 3), ::testing::ElementsAre(0, 0, 2));
    EXPECT_TRUE(std::isnan(y[3]));
    EXPECT_TRUE(std::isnan(y[8]));
  }
}

TEST(ReluValues, NoGradientAtZero) {
  for (const bool reference : {false, true}) {
    EXPECT_THAT(input_gradient(layer({1, 3}), {-1, 0, 2}, {}, {5, 6, 7}, reference),
                ::testing::ElementsAre(0, 0, 7));
  }
}

}  // namespace
}  // namespace nacre
