#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "layer_test.h"

namespace nacre {
namespace {

using ::testing::FloatNear;
using ::testing::Pointwise;

LayerCase layer(const Shape& shape, const AttrMap& attributes = {}) {
  return {"Tanh", {attributes}, {shape}, shape};
}

INSTANTIATE_TEST_SUITE_P(Tanh, LayerTest,
                         ::testing::Values(layer({1, 1}), layer({2, 5, 7, 3}), layer({3}), layer({3, 9001})));

INSTANTIATE_TEST_SUITE_P(Tanh, RefusalTest,
                         ::testing::Values(RefusalCase{layer({2, 0}), "empty"},
                                           RefusalCase{layer({2, 3}, {{"slope", 0.5}}), "slope"}));

TEST(TanhValues, Values) {
  for (const bool reference : {false, true}) {
    EXPECT_THAT(forward_values(layer({1, 5}), {-50, -1, 0, 0.5F, 50}, {}, reference),
                Pointwise(FloatNear(1e-6F), std::vector<float>{-1, -0.76159416F, 0, 0.46211716F, 1}));
    EXPECT_THAT(input_gradient(layer({1, 5}), {-50, -1, 0, 0.5F, 50}, {}, {1, 2, 3, 4, 5}, reference),
                Pointwise(FloatNear(1e-6F), std::vector<float>{0, 0.83994868F, 3, 3.1457909F, 0}));
  }
}

TEST(TanhValues, NanStaysNan) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(std::isnan(forward_values(layer({1, 1}), {nan})[0]));
}

}  // namespace
}  // namespace nacre
