#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "layer_test.h"

namespace nacre {
namespace {

LayerCase layer(const Shape& shape, size_t inputs) {
  return {"Add", {AttrMap{}}, std::vector<Shape>(inputs, shape), shape};
}

INSTANTIATE_TEST_SUITE_P(Add, LayerTest,
                         ::testing::Values(layer({1, 1}, 2), layer({2, 5, 7, 3}, 2), layer({5, 13}, 3),
                                           layer({2, 13, 3, 17}, 5), layer({3, 9001}, 3)));

LayerCase with_relu(const Shape& shape, size_t inputs) {
  return {"Add+ReLU", {AttrMap{}, AttrMap{}}, std::vector<Shape>(inputs, shape), shape};
}

INSTANTIATE_TEST_SUITE_P(AddReLU, LayerTest,
                         ::testing::Values(with_relu({1, 1}, 2), with_relu({2, 5, 7, 3}, 2),
                                           with_relu({2, 13, 3, 17}, 5), with_relu({3, 9001}, 3)));

INSTANTIATE_TEST_SUITE_P(
    Add, RefusalTest,
    ::testing::Values(RefusalCase{{"Add", {AttrMap{}}, {Shape{2, 3}, Shape{2, 4}}, {}}, "[N, 3] and [N, 4]"},
                      RefusalCase{{"Add", {AttrMap{}}, {Shape{2, 3}, Shape{2, 3}, Shape{2, 3, 1}}, {}},
                                  "[N, 3] and [N, 3, 1]"},
                      RefusalCase{layer({0, 3}, 2), "empty"},
                      RefusalCase{{"Add", {{{"axis", int64_t{1}}}}, {Shape{2, 3}, Shape{2, 3}}, {}},
                                  "axis"}));

INSTANTIATE_TEST_SUITE_P(AddReLU, RefusalTest,
                         ::testing::Values(RefusalCase{
                             {"Add+ReLU", {AttrMap{}, AttrMap{}}, {Shape{2, 3}, Shape{2, 4}}, {}},
                             "[N, 3] and [N, 4]"}));

TEST(AddValues, GradientGoesToEveryInput) {
  EXPECT_THAT(input_gradient(layer({1, 2}, 2), {1, 2}, {}, {5, 7}), ::testing::ElementsAre(5, 7));
}

TEST(AddValues, ReluClipsTheSum) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const bool reference : {false, true}) {
    EXPECT_THAT(forward_values(with_relu({1, 3}, 2), {1, -2, 0}, {}, reference),
                ::testing::ElementsAre(1, 0, 0));
    EXPECT_TRUE(std::isnan(forward_values(with_relu({1, 1}, 2), {nan}, {}, reference)[0]));
    EXPECT_THAT(input_gradient(with_relu({1, 3}, 2), {1, -2, 0}, {}, {5, 7, 9}, reference),
                ::testing::ElementsAre(5, 0, 0));
  }
}

}  // namespace
}  // namespace nacre
