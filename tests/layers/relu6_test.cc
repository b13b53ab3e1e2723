#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "layer_test.h"

namespace nacre {
namespace {

using ::testing::FloatNear;
using ::testing::Pointwise;

LayerCase layer(const Shape& shape, const AttrMap& attributes = {}) {
  return {"ReLU6", {attributes}, {shape}, shape};
}

INSTANTIATE_TEST_SUITE_P(ReLU6, LayerTest,
                         ::testing::Values(layer({1, 1}), layer({2, 5, 7, 3}), layer({3}), layer({3, 9001})));

INSTANTIATE_TEST_SUITE_P(ReLU6, RefusalTest,
                         ::testing::Values(RefusalCase{layer({2, 0}), "empty"},
                                           RefusalCase{layer({2, 3}, {{"max_value", 6.0}}), "max_value"}));

TEST(Relu6Values, Values) {
  for (const bool reference : {false, true}) {
    EXPECT_THAT(forward_values(layer({1, 5}), {-1, 0, 2.5F, 6, 7}, {}, reference),
                Pointwise(FloatNear(1e-6F), std::vector<float>{0, 0, 2.5F, 6, 6}));
    EXPECT_THAT(input_gradient(layer({1, 5}), {-1, 0, 2.5F, 6, 7}, {}, {1, 2, 3, 4, 5}, reference),
                Pointwise(FloatNear(1e-6F), std::vector<float>{0, 0, 3, 0, 0}));
  }
}

TEST(Relu6Values, NanStaysNan) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(std::isnan(forward_values(layer({1, 1}), {nan})[0]));
}

}  // namespace
}  // namespace nacre
