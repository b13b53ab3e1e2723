#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "engine/gemm.h"
#include "layer_runner.h"
#include "layer_test.h"

namespace nacre {
namespace {

AttrMap dense(int64_t units, const char* activation, bool bias = true) {
  return {{"units", units}, {"activation", std::string(activation)}, {"use_bias", bias}};
}

LayerCase layer(const AttrMap& attributes, const Shape& input, const Shape& output) {
  return {"Dense", {attributes}, {input}, output};
}

std::vector<LayerCase> cases() {
  return {
      layer({{"units", int64_t{1}}}, {1, 1}, {1, 1}),       layer(dense(3, "relu"), {2, 5}, {2, 3}),
      layer(dense(17, "relu"), {5, 13}, {5, 17}),           layer(dense(5, "linear", false), {1, 35}, {1, 5}),
      layer(dense(70, "relu"), {5, 300}, {5, 70}),          layer(dense(1, "linear"), {18, 17}, {18, 1}),
      layer(dense(129, "relu", false), {33, 3}, {33, 129}),
  };
}
INSTANTIATE_TEST_SUITE_P(Dense, LayerTest, ::testing::ValuesIn(cases()));

std::vector<RefusalCase> refusals() {
  return {
      {layer({}, {2, 5}, {}), "units"},
      {layer({{"units", int64_t{0}}}, {2, 5}, {}), "units"},
      {layer({{"units", 2.5}}, {2, 5}, {}), "units"},
      {layer({{"units", int64_t{2}}, {"bias", true}}, {2, 5}, {}), "bias"},
      {layer(dense(2, "gelu"), {2, 5}, {}), "\"relu\""},
      {layer(dense(2, "relu"), {2, 5, 5, 1}, {}), "Flatten"},
      {layer(dense(2, "relu"), {2, 0}, {}), "empty"},
      {layer(dense(int64_t{1} << 24, "relu"), {1, int64_t{1} << 30}, {}), "kernel"},
  };
}
INSTANTIATE_TEST_SUITE_P(Dense, RefusalTest, ::testing::ValuesIn(refusals()));

TEST(DenseValues, WorkedByHand) {
  for (const bool reference : {false, true}) {
    // Kernel [in][out]: (1, 2), (3, 4).
    EXPECT_THAT(forward_values(layer(dense(2, "linear"), {2, 2}, {}), {1, 10, -1, 0},
                               {{1, 2, 3, 4}, {0.5F, 0}}, reference),
                ::testing::ElementsAre(31.5F, 42, -0.5F, -2));
    EXPECT_THAT(forward_values(layer(dense(2, "relu"), {2, 2}, {}), {1, 10, -1, 0}, {{1, 2, 3, 4}, {0.5F, 0}},
                               reference),
                ::testing::ElementsAre(31.5F, 42, 0, 0));
  }
}

TEST(DenseValues, NanPassesRelu) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const bool reference : {false, true}) {
    const auto y =
        forward_values(layer(dense(2, "relu"), {1, 2}, {}), {1, nan}, {{1, 2, 3, 4}, {0, 0}}, reference);
    EXPECT_TRUE(std::isnan(y[0]) && std::isnan(y[1]));
  }
}

TEST(DenseValues, InitialisersHaveTheFans) {
  AttrMap attributes = dense(7, "relu");
  attributes["kernel_initializer"] = std::string("truncated_normal");
  attributes["kernel_stddev"] = 0.25;
  attributes["bias_initializer"] = std::string("ones");
  const auto op = create_operator(layer(attributes, {1, 5}, {}));
  ASSERT_TRUE(op.ok());
  const OperatorInfo& info = op.value()->info();
  EXPECT_EQ(info.flops_per_row, 70);
  EXPECT_EQ(info.variables[0].shape, (Shape{5, 7}));
  EXPECT_EQ(info.variables[0].initializer.kind, InitializerKind::kTruncatedNormal);
  EXPECT_EQ(info.variables[0].initializer.stddev, 0.25);
  EXPECT_EQ(info.variables[0].initializer.fan_in, 5);
  EXPECT_EQ(info.variables[0].initializer.fan_out, 7);
  EXPECT_EQ(info.variables[1].initializer.kind, InitializerKind::kOnes);
}

// Around the numbers of images from which on the kernel is read packed, which one that is large is later.
TEST(Dense, ImagesHaveTheSameBitsPackedAndInPlace) {
  const int64_t units = 300;
  for (const int64_t in : {kFarMatrix / units, kFarMatrix / units + 1}) {
    const Shape one{1, in};
    const auto alone =
        create_operator(layer(dense(units, "relu"), one, {1, units}), Mode::kInference).value();
    for (const int threads : {1, 2}) {
      const bool large = in * units > kFarMatrix && threads == 1;
      for (const int64_t most : {5, 6, 8, 9, 20}) {
        const Shape shape{most, in};
        const auto op =
            create_operator(layer(dense(units, "relu"), shape, {most, units}), Mode::kInference, threads)
                .value();
        EXPECT_EQ(op->info().packed_bytes > 0, most > (large ? 8 : 5));
        for (const int64_t n : {5, 6, 8, 9}) {
          if (n > most) continue;
          LayerRunner<float> run(*op, {shape}, n, threads);
          run.fill();
          run.context.mode = Mode::kInference;
          run.pack(threads);
          run.forward(false);
          for (const int64_t row : {int64_t{0}, n - 1}) {
            LayerRunner<float> single(*alone, {one}, 1, 1);
            single.fill();
            single.context.mode = Mode::kInference;
            std::copy_n(run.inputs[0].data() + row * in, in, single.inputs[0].data());
            single.forward(false);
            ASSERT_EQ(0, std::memcmp(single.output.data(), run.output.data() + row * units,
                                     static_cast<size_t>(units) * sizeof(float)))
                << in << ", " << threads << " threads, " << most << ": row " << row << " of " << n;
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace nacre
