#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "layer_test.h"

namespace nacre {
namespace {

using ::testing::FloatNear;
using ::testing::Pointwise;

LayerCase layer(const Shape& shape, const AttrMap& attributes = {}) {
  return {"Sigmoid", {attributes}, {shape}, shape};
}

INSTANTIATE_TEST_SUITE_P(Sigmoid, LayerTest,
                         ::testing::Values(layer({1, 1}), layer({2, 5, 7, 3}), layer({3}), layer({3, 9001})));

INSTANTIATE_TEST_SUITE_P(Sigmoid, RefusalTest,
                         ::testing::Values(RefusalCase{layer({2, 0}), "empty"},
                                           RefusalCase{layer({2, 3}, {{"slope", 0.5}}), "slope"}));

TEST(SigmoidValues, Values) {
  for (const bool reference : {false, true}) {
    EXPECT_THAT(forward_values(layer({1, 5}), {-200, -1, 0, 2, 200}, {}, reference),
                Pointwise(FloatNear(1e-6F), std::vector<float>{0, 0.26894142F, 0.5F, 0.88079708F, 1}));
    EXPECT_THAT(input_gradient(layer({1, 5}), {-200, -1, 0, 2, 200}, {}, {1, 2, 3, 4, 5}, reference),
                Pointwise(FloatNear(1e-6F), std::vector<float>{0, 0.39322387F, 0.75F, 0.41997434F, 0}));
  }
}

TEST(SigmoidValues, NanStaysNan) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(std::isnan(forward_values(layer({1, 1}), {nan})[0]));
}

}  // namespace
}  // namespace nacre
