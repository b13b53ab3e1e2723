#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "layer_test.h"

namespace nacre {
namespace {

using Extents = std::vector<int64_t>;
using ::testing::ElementsAre;

AttrMap pool(Extents size, Extents strides, const char* padding) {
  return {{"pool_size", size}, {"strides", strides}, {"padding", std::string(padding)}};
}

LayerCase layer(const AttrMap& attributes, const Shape& input, const Shape& output) {
  return {"MaxPool2D", {attributes}, {input}, output};
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
INSTANTIATE_TEST_SUITE_P(MaxPool2D, LayerTest, ::testing::ValuesIn(cases()));

std::vector<RefusalCase> refusals() {
  return {
      {layer({{"pool_size", int64_t{0}}}, {1, 4, 4, 1}, {}), "pool_size"},
      {layer({{"strides", int64_t{-2}}}, {1, 4, 4, 1}, {}), "strides"},
      {layer({{"padding", std::string("SAME")}}, {1, 4, 4, 1}, {}), "\"same\""},
      {layer({{"size", int64_t{2}}}, {1, 4, 4, 1}, {}), "size"},
      {layer({}, {1, 16}, {}), "[N, H, W, C]"},
      {layer({}, {1, 1, 4, 1}, {}), "height 2 does not fit into an input of 1"},
      {layer({}, {1, 4, 4, 0}, {}), "empty"},
  };
}
INSTANTIATE_TEST_SUITE_P(MaxPool2D, RefusalTest, ::testing::ValuesIn(refusals()));

TEST(MaxPool2DValues, WorkedByHand) {
  const std::vector<float> image{1, 2, 3, 4, 5, 6, 7, 8, 9};
  EXPECT_THAT(forward_values(layer(pool({2, 2}, {2, 2}, "valid"), {1, 3, 3, 1}, {}), image), ElementsAre(5));
  EXPECT_THAT(forward_values(layer(pool({2, 2}, {2, 2}, "same"), {1, 3, 3, 1}, {}), image),
              ElementsAre(5, 6, 8, 9));
  // Padding is no zero: it never wins.
  EXPECT_THAT(forward_values(layer(pool({3, 3}, {2, 2}, "same"), {1, 3, 3, 1}, {}),
                             {-1, -2, -3, -4, -5, -6, -7, -8, -9}),
              ElementsAre(-1, -2, -4, -5));
}

TEST(MaxPool2DValues, FirstOfEqualCellsGetsTheGradient) {
  const auto two = layer(pool({2, 2}, {2, 2}, "valid"), {1, 2, 4, 1}, {});
  EXPECT_THAT(input_gradient(two, {1, 4, 0, 0, 4, 4, 0, 0}, {}, {5, 7}), ElementsAre(0, 5, 7, 0, 0, 0, 0, 0));
}

TEST(MaxPool2DValues, OverlappingWindowsAddTheirGradients) {
  const auto overlap = layer(pool({1, 2}, {1, 1}, "valid"), {1, 1, 3, 1}, {});
  EXPECT_THAT(input_gradient(overlap, {1, 3, 2}, {}, {5, 7}), ElementsAre(0, 12, 0));
}

TEST(MaxPool2DValues, NanPropagates) {
  for (size_t at = 0; at < 4; ++at) {
    std::vector<float> image{1, 2, 3, 4};
    image[at] = std::numeric_limits<float>::quiet_NaN();
    EXPECT_TRUE(std::isnan(forward_values(layer({}, {1, 2, 2, 1}, {}), image)[0])) << at;
  }
}

}  // namespace
}  // namespace nacre
