#include <gmock/gmock.h>

#include "layer_test.h"

namespace nacre {
namespace {

using ::testing::ElementsAre;

LayerCase layer(const Shape& input, const Shape& output, const AttrMap& attributes = {}) {
  return {"GlobalAvgPool2D", {attributes}, {input}, output};
}

INSTANTIATE_TEST_SUITE_P(GlobalAvgPool2D, LayerTest,
                         ::testing::Values(layer({1, 1, 1, 1}, {1, 1}), layer({2, 5, 7, 3}, {2, 3}),
                                           layer({5, 13, 3, 17}, {5, 1, 1, 17}, {{"keepdims", true}}),
                                           layer({2, 3, 1, 131}, {2, 131}, {{"keepdims", false}}),
                                           layer({2, 64, 70, 3}, {2, 3})));

INSTANTIATE_TEST_SUITE_P(GlobalAvgPool2D, RefusalTest,
                         ::testing::Values(RefusalCase{layer({2, 3}, {}), "[N, H, W, C]"},
                                           RefusalCase{layer({2, 0, 3, 1}, {}), "empty"},
                                           RefusalCase{layer({2, 3, 3, 1}, {}, {{"keepdims", int64_t{1}}}),
                                                       "keepdims"}));

TEST(GlobalAvgPool2DValues, MeansAndShares) {
  const auto pool = layer({1, 2, 2, 2}, {1, 2});
  EXPECT_THAT(forward_values(pool, {1, 10, 2, 20, 3, 30, 6, 20}), ElementsAre(3, 20));
  EXPECT_THAT(input_gradient(pool, {1, 10, 2, 20, 3, 30, 6, 20}, {}, {4, 8}),
              ElementsAre(1, 2, 1, 2, 1, 2, 1, 2));
}

}  // namespace
}  // namespace nacre
