#include <gmock/gmock.h>

#include "layer_test.h"

namespace nacre {
namespace {

LayerCase layer(const Shape& input, const Shape& output) {
  return {"Flatten", {AttrMap{}}, {input}, output};
}

INSTANTIATE_TEST_SUITE_P(Flatten, LayerTest,
                         ::testing::Values(layer({1, 1, 1, 1}, {1, 1}), layer({2, 5, 7, 3}, {2, 105}),
                                           layer({5, 13}, {5, 13}), layer({3}, {3, 1}),
                                           layer({3, 70, 50, 5}, {3, 17500})));

INSTANTIATE_TEST_SUITE_P(
    Flatten, RefusalTest,
    ::testing::Values(RefusalCase{layer({}, {}), "[N, ...]"}, RefusalCase{layer({2, 0, 3}, {}), "empty"},
                      RefusalCase{{"Flatten", {{{"axis", int64_t{1}}}}, {Shape{2, 3}}, {}}, "axis"}));

TEST(FlattenValues, KeepsTheOrder) {
  EXPECT_THAT(forward_values(layer({1, 2, 1, 2}, {}), {1, 2, 3, 4}), ::testing::ElementsAre(1, 2, 3, 4));
}

}  // namespace
}  // namespace nacre
