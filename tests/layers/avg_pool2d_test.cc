#include <gmock/gmock.h>

#include "layer_test.h"

namespace nacre {
namespace {

using Extents = std::vector<int64_t>;
using ::testing::ElementsAre;

AttrMap pool(Extents size, Extents strides, const char* padding) {
  return {{"pool_size", size}, {"strides", strides}, {"padding", std::string(padding)}};
}

LayerCase layer(const AttrMap& attributes, const Shape& input, const Shape& output) {
  return {"AvgPool2D", {attributes}, {input}, output};
}

std::vector<LayerCase> cases() {
  return {
      layer({}, {2, 4, 6, 3}, {2, 2, 3, 3}),
      layer({{"pool_size", int64_t{3}}}, {2, 5, 7, 5}, {2, 1, 2, 5}),
      layer(pool({1, 1}, {1, 1}, "valid"), {1, 1, 1, 1}, {1, 1, 1, 1}),
      layer(pool({2, 2}, {2, 2}, "same"), {5, 5, 7, 17}, {5, 3, 4, 17}),
      layer(pool({3, 3}, {2, 2}, "same"), {2, 13, 3, 3}, {2, 7, 2, 3}),
      layer(pool({3, 2}, {1, 2}, "valid"), {2, 13, 3, 5}, {2, 11, 1, 5}),
      layer(pool({2, 2}, {3, 5}, "same"), {1, 13, 7, 3}, {1, 5, 2, 3}),
      layer(pool({5, 5}, {1, 1}, "same"), {2, 3, 2, 1}, {2, 3, 2, 1}),
  };
}
INSTANTIATE_TEST_SUITE_P(AvgPool2D, LayerTest, ::testing::ValuesIn(cases()));

std::vector<RefusalCase> refusals() {
  return {
      {layer({{"pool_size", int64_t{0}}}, {1, 4, 4, 1}, {}), "pool_size"},
      {layer({{"strides", Extents{1, -2}}}, {1, 4, 4, 1}, {}), "strides"},
      {layer({{"padding", true}}, {1, 4, 4, 1}, {}), "\"same\""},
      {layer({{"mode", int64_t{2}}}, {1, 4, 4, 1}, {}), "mode"},
      {layer({}, {1, 4, 4}, {}), "[N, H, W, C]"},
      {layer({}, {1, 4, 1, 1}, {}), "width 2 does not fit into an input of 1"},
  };
}
INSTANTIATE_TEST_SUITE_P(AvgPool2D, RefusalTest, ::testing::ValuesIn(refusals()));

TEST(AvgPool2DValues, WorkedByHand) {
  const std::vector<float> image{1, 2, 3, 4, 5, 6, 7, 8, 9};
  EXPECT_THAT(forward_values(layer(pool({2, 2}, {2, 2}, "valid"), {1, 3, 3, 1}, {}), image), ElementsAre(3));
  // Padding does not count, as in tf.nn.avg_pool2d.
  EXPECT_THAT(forward_values(layer(pool({2, 2}, {2, 2}, "same"), {1, 3, 3, 1}, {}), image),
              ElementsAre(3, 4.5F, 7.5F, 9));
}

TEST(AvgPool2DValues, GradientIsSharedAmongTheCellsInside) {
  EXPECT_THAT(input_gradient(layer(pool({2, 2}, {2, 2}, "same"), {1, 3, 3, 1}, {}), std::vector<float>(9), {},
                             {4, 2, 6, 5}),
              ElementsAre(1, 1, 1, 1, 1, 1, 3, 3, 5));
}

}  // namespace
}  // namespace nacre
