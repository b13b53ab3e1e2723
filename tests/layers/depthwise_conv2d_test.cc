#include <gmock/gmock.h>

#include "layer_test.h"

namespace nacre {
namespace {

using Extents = std::vector<int64_t>;
using ::testing::ElementsAre;

AttrMap depthwise(Extents kernel, int64_t stride, const char* padding, const char* activation,
                  int64_t multiplier = 1, bool bias = true) {
  return {{"kernel_size", std::move(kernel)}, {"strides", stride},
          {"padding", std::string(padding)},  {"activation", std::string(activation)},
          {"depth_multiplier", multiplier},   {"use_bias", bias}};
}

LayerCase layer(const AttrMap& attributes, const Shape& input, const Shape& output) {
  return {"DepthwiseConv2D", {attributes}, {input}, output};
}

std::vector<LayerCase> cases() {
  return {
      layer({{"kernel_size", int64_t{1}}}, {1, 1, 1, 1}, {1, 1, 1, 1}),
      layer(depthwise({3, 3}, 1, "same", "relu"), {2, 5, 7, 3}, {2, 5, 7, 3}),
      layer(depthwise({3, 3}, 2, "same", "linear"), {2, 6, 7, 17}, {2, 3, 4, 17}),
      layer(depthwise({3, 2}, 2, "valid", "relu", 1, false), {3, 7, 6, 8}, {3, 3, 3, 8}),
      layer(depthwise({5, 5}, 1, "same", "linear"), {2, 2, 3, 16}, {2, 2, 3, 16}),
      layer(depthwise({2, 4}, 3, "same", "relu"), {2, 8, 7, 33}, {2, 3, 3, 33}),
      layer(depthwise({1, 1}, 2, "same", "linear"), {2, 5, 4, 5}, {2, 3, 2, 5}),
      layer(depthwise({3, 3}, 1, "same", "relu", 2), {2, 5, 4, 3}, {2, 5, 4, 6}),
      layer(depthwise({3, 1}, 2, "valid", "linear", 5, false), {3, 7, 3, 4}, {3, 3, 2, 20}),
      // More images than chunks of images.
      layer(depthwise({3, 3}, 1, "same", "relu"), {35, 3, 4, 5}, {35, 3, 4, 5}),
  };
}
INSTANTIATE_TEST_SUITE_P(DepthwiseConv2D, LayerTest, ::testing::ValuesIn(cases()));

std::vector<RefusalCase> refusals() {
  const auto good = depthwise({3, 3}, 1, "valid", "linear");
  const auto changed = [&](const char* name, const AttrValue& value) {
    AttrMap attributes = good;
    attributes.insert_or_assign(name, value);
    return layer(attributes, {2, 5, 5, 1}, {});
  };
  return {
      {layer({}, {2, 5, 5, 1}, {}), "kernel_size"},
      {changed("depth_multiplier", int64_t{0}), "depth_multiplier"},
      {changed("strides", Extents{1, 2}), "[1, 2], expected the same step both ways"},
      {changed("activation", std::string("tanh")), "\"relu\""},
      {changed("filters", int64_t{2}), "filters"},
      {layer(good, {2, 25}, {}), "[N, H, W, C]"},
      {layer(good, {2, 2, 5, 1}, {}), "height 3 does not fit into an input of 2"},
      {layer(good, {2, int64_t{1} << 23, int64_t{1} << 23, 1}, {}), "2^48"},
      {layer(depthwise({3, 3}, 1, "same", "linear", 1 << 20), {2, 1 << 14, 1 << 14, 1}, {}), "2^48"},
  };
}
INSTANTIATE_TEST_SUITE_P(DepthwiseConv2D, RefusalTest, ::testing::ValuesIn(refusals()));

TEST(DepthwiseConv2DValues, ChannelsKeepTheirOrder) {
  const auto twice = layer(depthwise({1, 2}, 1, "valid", "relu", 2), {1, 1, 2, 2}, {1, 1, 1, 4});
  for (const bool reference : {false, true}) {
    // Pixels (1, 2) and (3, 4); kernel [cell][channel][m]; output channel c * 2 + m.
    EXPECT_THAT(
        forward_values(twice, {1, 2, 3, 4}, {{1, 10, 100, 1000, 1, 1, 1, -900}, {0, 0.5F, 0, 0}}, reference),
        ElementsAre(4, 13.5F, 204, 0));
  }
}

TEST(DepthwiseConv2DValues, CountsParametersAndWork) {
  const auto op = create_operator(layer(depthwise({3, 3}, 1, "same", "relu", 2), {1, 8, 8, 5}, {}));
  ASSERT_TRUE(op.ok());
  const OperatorInfo& info = op.value()->info();
  EXPECT_EQ(info.flops_per_row, 2 * 8 * 8 * 3 * 3 * 10);
  ASSERT_EQ(info.variables.size(), 2U);
  EXPECT_EQ(info.variables[0].name, "kernel");
  EXPECT_EQ(info.variables[0].shape, (Shape{3, 3, 5, 2}));
  EXPECT_EQ(info.variables[0].initializer.fan_in, 45);
  EXPECT_EQ(info.variables[0].initializer.fan_out, 18);
  EXPECT_EQ(info.variables[1].shape, (Shape{10}));
}

}  // namespace
}  // namespace nacre
