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

AttrMap with(AttrMap attributes, const AttrMap& more) {
  for (const auto& [name, value] : more) attributes.insert_or_assign(name, value);
  return attributes;
}

AttrMap grouped(AttrMap attributes, int64_t groups) {
  return with(std::move(attributes), {{"groups", groups}});
}

AttrMap dilated(AttrMap attributes, Extents rate) {
  return with(std::move(attributes), {{"dilation_rate", std::move(rate)}});
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
      layer(dilated(conv(3, {3, 3}, {1, 1}, "same", "relu"), {2, 3}), {2, 5, 7, 3}, {2, 5, 7, 3}),
      layer(dilated(conv(4, {3, 2}, {1, 1}, "valid", "linear"), {2, 4}), {2, 7, 9, 2}, {2, 3, 5, 4}),
      // Windows of which every cell lies outside at some places, and all but the middle at others.
      layer(dilated(conv(2, {2, 2}, {1, 1}, "same", "linear"), {3, 5}), {2, 1, 3, 2}, {2, 1, 3, 2}),
      layer(dilated(conv(2, {3, 3}, {1, 1}, "same", "relu"), {9, 9}), {1, 5, 4, 3}, {1, 5, 4, 2}),
      layer(dilated(conv(3, {1, 1}, {1, 1}, "same", "linear"), {4, 4}), {2, 3, 4, 2}, {2, 3, 4, 3}),
      layer(grouped(conv(6, {3, 3}, {1, 1}, "same", "relu"), 2), {3, 5, 7, 4}, {3, 5, 7, 6}),
      layer(grouped(conv(6, {3, 2}, {2, 3}, "valid", "linear", false), 3), {2, 7, 8, 9}, {2, 3, 3, 6}),
      layer(grouped(conv(10, {1, 1}, {1, 1}, "valid", "relu"), 5), {2, 5, 3, 5}, {2, 5, 3, 10}),
      layer(grouped(conv(4, {1, 1}, {2, 2}, "same", "linear"), 4), {2, 5, 3, 4}, {2, 3, 2, 4}),
      layer(grouped(dilated(conv(6, {3, 3}, {1, 1}, "same", "relu"), {2, 1}), 3), {2, 6, 5, 3}, {2, 6, 5, 6}),
      // More than one stripe of output rows.
      layer(grouped(dilated(conv(4, {3, 3}, {1, 1}, "same", "relu"), {2, 2}), 2), {2, 90, 45, 10},
            {2, 90, 45, 4}),
      layer(conv(3, {3, 3}, {1, 1}, "same", "relu"), {2, 70, 33, 9}, {2, 70, 33, 3}),
      // The last stripe is shorter than the others, and its products are cut into deeper blocks.
      layer(conv(32, {3, 3}, {1, 1}, "same", "relu"), {2, 33, 33, 9}, {2, 33, 33, 32}),
      layer(conv(32, {3, 3}, {1, 1}, "same", "linear"), {1, 27, 27, 16}, {1, 27, 27, 32}),
  };
}
INSTANTIATE_TEST_SUITE_P(Conv2D, LayerTest, ::testing::ValuesIn(cases()));

std::vector<RefusalCase> refusals() {
  const auto good = conv(2, {3, 3}, {1, 1}, "valid", "linear");
  const auto changed = [&](const char* name, const AttrValue& value) {
    return layer(with(good, {{name, value}}), {2, 5, 5, 1}, {});
  };
  AttrMap missing = good;
  missing.erase("filters");
  return {
      {layer(missing, {2, 5, 5, 1}, {}), "filters"},
      {changed("filters", int64_t{0}), "filters"},
      {changed("filters", std::string("many")), "filters"},
      {changed("kernel_size", int64_t{0}), "kernel_size"},
      {changed("kernel_size", Extents{3, 3, 3}), "kernel_size"},
      {changed("strides", int64_t{0}), "strides"},
      {changed("strides", int64_t{-1}), "strides"},
      {changed("padding", std::string("full")), "\"valid\""},
      {changed("activation", std::string("tanh")), "\"relu\""},
      {changed("kernel_initializer", std::string("random")), "\"glorot_uniform\""},
      {changed("dilation", int64_t{2}), "dilation"},
      {changed("dilation_rate", int64_t{0}), "dilation_rate"},
      {changed("dilation_rate", int64_t{3}), "height 7 does not fit into an input of 5"},
      {layer(dilated(conv(2, {3, 3}, {1, 2}, "same", "linear"), {2, 1}), {2, 5, 5, 1}, {}), "both above 1"},
      {layer(grouped(good, 2), {2, 5, 5, 3}, {}), "2 groups divide, found 3 and 2"},
      {layer(grouped(good, 4), {2, 5, 5, 4}, {}), "4 groups divide, found 4 and 2"},
      {changed("groups", int64_t{0}), "groups"},
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

TEST(Conv2DValues, DilationSpreadsTheKernel) {
  const auto spread =
      layer(dilated(conv(1, {1, 3}, {1, 1}, "same", "linear", false), {1, 2}), {1, 1, 5, 1}, {});
  for (const bool reference : {false, true}) {
    // x[i - 2] * 100 + x[i] * 10 + x[i + 2].
    EXPECT_THAT(forward_values(spread, {1, 2, 3, 4, 5}, {{100, 10, 1}}, reference),
                ElementsAre(13, 24, 135, 240, 350));
  }
}

TEST(Conv2DValues, GroupsSeeTheirOwnChannels) {
  const auto two = layer(grouped(conv(4, {1, 1}, {1, 1}, "same", "linear", false), 2), {1, 1, 1, 4}, {});
  for (const bool reference : {false, true}) {
    // Kernel [channel of the group][filter]; filters 0 and 1 see channels 0 and 1, filters 2 and 3 the
    // others.
    EXPECT_THAT(forward_values(two, {1, 2, 3, 4}, {{1, 10, 100, 1000, 2, 20, 200, 2000}}, reference),
                ElementsAre(5, 50, 1100, 11000));
  }
  const auto op = create_operator(two);
  EXPECT_EQ(op.value()->info().variables[0].shape, (Shape{1, 1, 2, 4}));
  EXPECT_EQ(op.value()->info().variables[0].initializer.fan_in, 2);
  EXPECT_EQ(op.value()->info().variables[0].initializer.fan_out, 4);
}

/// As files were written before there were dilation and groups.
TEST(Conv2DValues, OldFilesNeedNotNameDilationAndGroups) {
  const auto written = find_builtin("Conv2D").normalize(conv(2, {3, 3}, {1, 1}, "same", "relu"));
  ASSERT_TRUE(written.ok());
  EXPECT_EQ(written->at("dilation_rate"), AttrValue(int64_t{1}));
  EXPECT_EQ(written->at("groups"), AttrValue(int64_t{1}));
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
