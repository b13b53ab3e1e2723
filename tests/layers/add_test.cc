#include <gmock/gmock.h>

#include "layer_test.h"

namespace nacre {
namespace {

LayerCase layer(const Shape& shape, size_t inputs) {
  return {"Add", {AttrMap{}}, std::vector<Shape>(inputs, shape), shape};
}

INSTANTIATE_TEST_SUITE_P(Add, LayerTest,
                         ::testing::Values(layer({1, 1}, 2), layer({2, 5, 7, 3}, 2), layer({5, 13}, 3),
                                           layer({2, 13, 3, 17}, 5), layer({3, 9001}, 3)));

INSTANTIATE_TEST_SUITE_P(
    Add, RefusalTest,
    ::testing::Values(RefusalCase{{"Add", {AttrMap{}}, {Shape{2, 3}, Shape{2, 4}}, {}}, "[N, 3] and [N, 4]"},
                      RefusalCase{{"Add", {AttrMap{}}, {Shape{2, 3}, Shape{2, 3}, Shape{2, 3, 1}}, {}},
                                  "[N, 3] and [N, 3, 1]"},
                      RefusalCase{layer({0, 3}, 2), "empty"},
                      RefusalCase{{"Add", {{{"axis", int64_t{1}}}}, {Shape{2, 3}, Shape{2, 3}}, {}},
                                  "axis"}));

TEST(AddValues, GradientGoesToEveryInput) {
  EXPECT_THAT(input_gradient(layer({1, 2}, 2), {1, 2}, {}, {5, 7}), ::testing::ElementsAre(5, 7));
}

}  // namespace
}  // namespace nacre
