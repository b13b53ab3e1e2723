#include <gmock/gmock.h>

#include "layer_test.h"

namespace nacre {
namespace {

using Extents = std::vector<int64_t>;
using ::testing::ElementsAre;

AttrMap conv(int64_t filters, Extents kernel, Extents strides, const char* padding, const char* activation,
             bool bias = true) {
  return {{"filters", filters},
          {"kernel_size", kernel},
          {"strides", strides},
          {"padding", padding},
          {"activation", std::string(activation)},
          {"use_bias", bias}};
}

LayerCase layer(const AttrMap& attributes, const Shape& input, const Shape& output) {
  return {"Conv2D", {attributes}, {input}, output};
}

std::vector<LayerCase> cases() {
  return {
      layer({{"filters", int64_t{1}}, {"kernel_size", int64_t{1}}}, {1, 1, 1, 1}, {1, 1, 1, 1}),
      layer(conv(3, {3, 3}, {1, 1}, "same", "relu"), {2, 1, 1, 5}, {2, 1, 1, 3}),
      layer(conv(5, {1, 1}, {1, 1}, "valid", "relu"), {2, 5, 7, 3}, {2, 5, 7, 5}),
      layer(conv(5, {1, 1}, {2, 3}, "same", "linear"), {2, 5, 7, 3}, {2, 3, 3, 5}),
      layer(conv(17, {3, 3}, {1, 1}, "same", "relu"), {5, 5, 7, 3}, {5, 5, 7, 17}),
      layer(conv(4, {3, 3}, {1, 1}, "valid", "relu"), {2, 5, 7, 17}, {2, 3, 5, 4}),
      layer(conv(3, {2, 4}, {1, 1}, "same", "linear", false), {2, 5, 7, 3}, {2, 5, 7, 3}),
      layer(conv(5, {5, 3}, {2, 1}, "same", "relu"), {2, 13, 3, 5}, {2, 7, 3, 5}),
      layer(conv(2, {2, 2}, {3, 4}, "valid", "relu"), {2, 13, 7, 3}, {2, 4, 2, 2}),
      layer(conv(2, {2, 2}, {3, 4}, "same", "relu", false), {1, 13, 7, 3}, {1, 5, 2, 2}),
      layer(conv(3, {7, 7}, {1, 1}, "same", "linear"), {1, 3, 2, 1}, {1, 3, 2, 3}),
      layer(conv(3, {5, 5}, {3, 3}, "same", "linear"), {3, 1, 13, 2}, {3, 1, 5, 3}),
      layer(conv(6, {3, 3}, {1, 1}, "same", "relu"), {18, 6, 4, 2}, {18, 6, 4, 6}),
      // More than one stripe of output rows.
      layer(conv(3, {3, 3}, {1, 1}, "same", "relu"), {2, 70, 33, 9}, {2, 70, 33, 3}),
  };
}
INSTANTIATE_TEST_SUITE_P(Conv2D, LayerTest, ::testing::ValuesIn(cases()));

std::vector<RefusalCase> refusals() {
  const auto good = conv(2, {3, 3}, {1, 1}, "valid", "linear");
  const auto with = [&](const char* name, const AttrValue& value) {
    AttrMap attributes = good;
    attributes.insert_or_assign(name, value);
    return layer(attributes, {2, 5, 5, 1}, {});
  };
  AttrMap missing = good;
  missing.erase("filters");
  return {
      {layer(missing, {2, 5, 5, 1}, {}), "filters"},
      {with("filters", int64_t{0}), "filters"},
      {with("filters", std::string("many")), "filters"},
      {with("kernel_size", int64_t{0}), "kernel_size"},
      {with("kernel_size", Extents{3, 3, 3}), "kernel_size"},
      {with("strides", int64_t{0}), "strides"},
      {with("strides", int64_t{-1}), "strides"},
      {with("padding", std::string("full")), "\"valid\""},
      {with("activation", std::string("tanh")), "\"relu\""},
      {with("kernel_initializer", std::string("random")), "\"glorot_uniform\""},
      {with("dilation", int64_t{2}), "dilation"},
      {layer(good, {2, 25}, {}), "[N, H, W, C]"},
      {layer(good, {2, 2, 5, 1}, {}), "height 3 does not fit into an input of 2"},
      {layer(good, {2, 5, 2, 1}, {}), "width 3 does not fit into an input of 2"},
      {layer(good, {2, 5, 5, 0}, {}), "empty"},
      {layer(good, {2, int64_t{1} << 23, int64_t{1} << 23, 1}, {}), "2^48"},
  };
}
INSTANTIATE_TEST_SUITE_P(Conv2D, RefusalTest, ::testing::ValuesIn(refusals()));

// Worked by hand after https://www.tensorflow.org/api_docs/python/tf/nn ("Notes on padding"): 4 wide, kernel
// 3, stride 2 pads max((2 - 1) * 2 + 3 - 4, 0) = 1 in all, 0 before and 1 after.
TEST(Conv2DValues, SamePadsAtBottomAndRight) {
  const std::vector<float> image{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
  const std::vector<float> ones(9, 1.0F);
  const auto same = layer(conv(1, {3, 3}, {2, 2}, "same", "linear", false), {1, 4, 4, 1}, {1, 2, 2, 1});
  for (const bool reference : {false, true}) {
    // 1+2+3+5+6+7+9+10+11, 3+4+7+8+11+12, 9+10+11+13+14+15, 11+12+15+16.
    EXPECT_THAT(forward_values(same, image, {ones}, reference), ElementsAre(54, 45, 72, 54));
  }
}

TEST(Conv2DValues, EvenKernelPadsOnlyAfter) {
  const auto same = layer(conv(1, {2, 2}, {1, 1}, "same", "linear", false), {1, 2, 3, 1}, {1, 2, 3, 1});
  for (const bool reference : {false, true}) {
    // The kernel tells the four cells apart: 1000 100 / 10 1.
    EXPECT_THAT(forward_values(same, {1, 2, 3, 4, 5, 6}, {{1000, 100, 10, 1}}, reference),
                ElementsAre(1245, 2356, 3060, 4500, 5600, 6000));
  }
}

TEST(Conv2DValues, SumsChannelsAndAddsBiasBeforeRelu) {
  const auto pointwise = layer(conv(2, {1, 1}, {1, 1}, "valid", "relu"), {1, 1, 2, 2}, {1, 1, 2, 2});
  for (const bool reference : {false, true}) {
    // Kernel [in][out]: (1, -1) and (10, 2).
    EXPECT_THAT(forward_values(pointwise, {1, 2, 3, -1}, {{1, -1, 10, 2}, {0.5F, -4}}, reference),
                ElementsAre(21.5F, 0.0F, 0.0F, 0.0F));
  }
}

TEST(Conv2DValues, CountsParametersAndWork) {
  const auto op = create_operator(layer(conv(16, {3, 3}, {1, 1}, "same", "relu"), {1, 96, 96, 3}, {}));
  ASSERT_TRUE(op.ok());
  const OperatorInfo& info = op.value()->info();
  EXPECT_EQ(info.flops_per_row, 2 * 96 * 96 * 3 * 3 * 3 * 16);
  ASSERT_EQ(info.variables.size(), 2U);
  EXPECT_EQ(info.variables[0].name, "kernel");
  EXPECT_EQ(info.variables[0].shape, (Shape{3, 3, 3, 16}));
  EXPECT_EQ(info.variables[0].initializer.kind, InitializerKind::kGlorotUniform);
  EXPECT_EQ(info.variables[0].initializer.fan_in, 27);
  EXPECT_EQ(info.variables[0].initializer.fan_out, 144);
  EXPECT_TRUE(info.variables[0].decay);
  EXPECT_EQ(info.variables[1].name, "bias");
  EXPECT_EQ(info.variables[1].shape, (Shape{16}));
  EXPECT_EQ(info.variables[1].initializer.kind, InitializerKind::kZeros);
  EXPECT_FALSE(info.variables[1].decay);
}

}  // namespace
}  // namespace nacre
