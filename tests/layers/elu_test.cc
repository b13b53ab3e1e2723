#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "layer_test.h"

namespace nacre {
namespace {

using ::testing::FloatNear;
using ::testing::Pointwise;

LayerCase layer(const Shape& shape, const AttrMap& attributes = {}) {
  return {"ELU", {attributes}, {shape}, shape};
}

INSTANTIATE_TEST_SUITE_P(ELU, LayerTest,
                         ::testing::Values(layer({1, 1}), layer({2, 5, 7, 3}), layer({3}), layer({3, 9001}),
                                           layer({2, 13}, {{"alpha", 0.0}}),
                                           layer({2, 13}, {{"alpha", 1.5}})));

INSTANTIATE_TEST_SUITE_P(ELU, RefusalTest,
                         ::testing::Values(RefusalCase{layer({2, 0}), "empty"},
                                           RefusalCase{layer({2, 3}, {{"alpha", -1.0}}), "alpha"}));

TEST(EluValues, Values) {
  for (const bool reference : {false, true}) {
    EXPECT_THAT(forward_values(layer({1, 5}, {{"alpha", 0.25}}), {-4, 0, 2.5F, -1, 7}, {}, reference),
                Pointwise(FloatNear(1e-6F), std::vector<float>{-0.24542109F, 0, 2.5F, -0.15803014F, 7}));
    EXPECT_THAT(input_gradient(layer({1, 5}, {{"alpha", 0.25}}), {-4, 0, 2.5F, -1, 7}, {}, {1, 2, 3, 4, 5},
                               reference),
                Pointwise(FloatNear(1e-6F), std::vector<float>{0.0045789097F, 0.5F, 3, 0.36787944F, 5}));
  }
}

TEST(EluValues, NanStaysNan) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(std::isnan(forward_values(layer({1, 1}), {nan})[0]));
}

}  // namespace
}  // namespace nacre
