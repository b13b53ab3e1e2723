#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "layer_runner.h"
#include "layer_test.h"

namespace nacre {
namespace {

using Extents = std::vector<int64_t>;

AttrMap conv(int64_t filters, Extents kernel, Extents strides, const char* padding, const char* activation) {
  return {{"filters", filters},
          {"kernel_size", kernel},
          {"strides", strides},
          {"padding", std::string(padding)},
          {"activation", std::string(activation)}};
}

AttrMap pool(Extents size, Extents strides, const char* padding) {
  return {{"pool_size", size}, {"strides", strides}, {"padding", std::string(padding)}};
}

LayerCase layer(const AttrMap& first, const AttrMap& second, const Shape& input, const Shape& output) {
  return {"Conv2D+MaxPool2D", {first, second}, {input}, output};
}

std::vector<LayerCase> cases() {
  const AttrMap half = pool({2, 2}, {0, 0}, "valid");
  const AttrMap same = pool({2, 2}, {2, 2}, "same");
  return {
      layer(conv(3, {1, 1}, {1, 1}, "same", "relu"), pool({1, 1}, {1, 1}, "valid"), {1, 1, 1, 1},
            {1, 1, 1, 3}),
      layer(conv(8, {3, 3}, {1, 1}, "same", "relu"), half, {5, 4, 6, 3}, {5, 2, 3, 8}),
      layer(conv(17, {3, 3}, {1, 1}, "same", "relu"), half, {2, 5, 7, 3}, {2, 2, 3, 17}),
      layer(conv(17, {3, 3}, {1, 1}, "same", "linear"), same, {2, 5, 7, 3}, {2, 3, 4, 17}),
      layer(conv(5, {1, 1}, {1, 1}, "valid", "relu"), half, {2, 5, 7, 17}, {2, 2, 3, 5}),
      layer(conv(4, {5, 3}, {2, 1}, "same", "relu"), pool({3, 2}, {3, 2}, "same"), {2, 13, 3, 5},
            {2, 3, 2, 4}),
      layer(conv(4, {2, 2}, {1, 1}, "valid", "relu"), pool({2, 2}, {3, 4}, "same"), {1, 13, 7, 2},
            {1, 4, 2, 4}),
      layer(conv(4, {3, 3}, {1, 1}, "valid", "linear"), pool({2, 1}, {5, 3}, "valid"), {2, 13, 7, 2},
            {2, 2, 2, 4}),
      layer(conv(2, {3, 3}, {1, 1}, "same", "relu"), pool({15, 15}, {15, 15}, "same"), {1, 17, 9, 2},
            {1, 2, 1, 2}),
      layer(conv(9, {3, 3}, {1, 1}, "same", "relu"), half, {18, 4, 4, 2}, {18, 2, 2, 9}),
      layer(
          [] {
            AttrMap attributes = conv(6, {3, 3}, {1, 1}, "same", "relu");
            attributes["groups"] = int64_t{2};
            attributes["dilation_rate"] = int64_t{2};
            return attributes;
          }(),
          half, {2, 8, 6, 4}, {2, 4, 3, 6}),
      // Few channels, under kernels of more than one window of quads.
      layer(conv(17, {5, 5}, {1, 1}, "same", "relu"), half, {2, 21, 23, 2}, {2, 10, 11, 17}),
      layer(conv(20, {6, 4}, {1, 1}, "valid", "relu"), half, {3, 25, 37, 3}, {3, 10, 17, 20}),
      layer(conv(5, {1, 2}, {1, 1}, "same", "linear"), half, {2, 6, 40, 6}, {2, 3, 20, 5}),
      // More filters than bits of a word, and channels than a vector.
      layer(conv(70, {3, 3}, {1, 1}, "valid", "relu"), half, {2, 8, 7, 20}, {2, 3, 2, 70}),
      // More than one stripe.
      layer(conv(16, {3, 3}, {1, 1}, "same", "relu"), half, {2, 71, 33, 9}, {2, 35, 16, 16}),
  };
}
INSTANTIATE_TEST_SUITE_P(Conv2DMaxPool2D, LayerTest, ::testing::ValuesIn(cases()));

std::vector<RefusalCase> refusals() {
  const AttrMap first = conv(2, {3, 3}, {1, 1}, "same", "relu");
  return {
      {layer(first, pool({3, 3}, {2, 2}, "same"), {1, 8, 8, 1}, {}), ""},
      {layer(first, pool({2, 2}, {2, 1}, "same"), {1, 8, 8, 1}, {}), ""},
      {layer(first, pool({16, 16}, {16, 16}, "same"), {1, 32, 32, 1}, {}), ""},
      {layer(first, pool({9, 9}, {9, 9}, "valid"), {1, 8, 8, 1}, {}), "does not fit"},
      {layer(conv(0, {3, 3}, {1, 1}, "same", "relu"), pool({2, 2}, {2, 2}, "valid"), {1, 8, 8, 1}, {}),
       "filters"},
  };
}
INSTANTIATE_TEST_SUITE_P(Conv2DMaxPool2D, RefusalTest, ::testing::ValuesIn(refusals()));

/// The two layers one after the other.
struct Chain {
  explicit Chain(const LayerCase& fused)
      : first{"Conv2D", {fused.attributes[0]}, fused.inputs, {}},
        conv_op(std::move(create_operator(first)).value()),
        second{"MaxPool2D", {fused.attributes[1]}, {conv_op->info().output}, {}},
        pool_op(std::move(create_operator(second)).value()),
        conv_run(*conv_op, first.inputs, first.inputs[0][0], 1),
        pool_run(*pool_op, second.inputs, first.inputs[0][0], 1) {}

  void forward() {
    conv_run.forward(false);
    std::copy_n(conv_run.output.data(), conv_run.output.size(), pool_run.inputs[0].data());
    pool_run.forward(false);
  }
  void backward() {
    pool_run.backward(false);
    std::copy_n(pool_run.grad_inputs[0].data(), conv_run.grad_output.size(), conv_run.grad_output.data());
    conv_run.backward(false);
  }

  LayerCase first;
  std::unique_ptr<Operator> conv_op;
  LayerCase second;
  std::unique_ptr<Operator> pool_op;
  LayerRunner<float> conv_run;
  LayerRunner<float> pool_run;
};

void expect_close(const Tensor& a, const Tensor& b, const std::string& what) {
  ASSERT_EQ(a.shape(), b.shape());
  for (int64_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a.data()[i], b.data()[i], 2e-4) << what << ' ' << i;
}

class ConvPoolChain : public ::testing::TestWithParam<LayerCase> {};

TEST_P(ConvPoolChain, EqualsTheTwoLayers) {
  const auto op = std::move(create_operator(GetParam())).value();
  LayerRunner<float> fused(*op, GetParam().inputs, GetParam().inputs[0][0], 1);
  fused.fill();
  Chain chain(GetParam());
  chain.conv_run.fill();
  chain.forward();
  fused.forward(false);
  ASSERT_EQ(fused.output.shape(), chain.pool_run.output.shape());
  EXPECT_EQ(0, std::memcmp(fused.output.data(), chain.pool_run.output.data(),
                           static_cast<size_t>(fused.output.size()) * sizeof(float)));
  std::copy_n(fused.grad_output.data(), fused.grad_output.size(), chain.pool_run.grad_output.data());
  fused.backward(false);
  chain.backward();
  expect_close(fused.grad_inputs[0], chain.conv_run.grad_inputs[0], "input");
  expect_close(fused.grad_variables[0], chain.conv_run.grad_variables[0], "kernel");
  expect_close(fused.grad_variables[1], chain.conv_run.grad_variables[1], "bias");
}
INSTANTIATE_TEST_SUITE_P(Conv2DMaxPool2D, ConvPoolChain, ::testing::ValuesIn(cases()));

TEST(ConvPoolValues, NanPropagates) {
  const auto fused =
      layer(conv(9, {1, 1}, {1, 1}, "same", "relu"), pool({2, 2}, {2, 2}, "valid"), {1, 2, 4, 1}, {});
  const std::vector<float> ones(9, 1.0F);
  const std::vector<float> zeros(9, 0.0F);
  for (const bool reference : {false, true}) {
    for (size_t at = 0; at < 8; ++at) {
      std::vector<float> image{1, 2, 3, 4, 5, 6, 7, 8};
      image[at] = std::numeric_limits<float>::quiet_NaN();
      const auto pooled = forward_values(fused, image, {ones, zeros}, reference);
      const bool left = at % 4 < 2;
      EXPECT_TRUE(std::isnan(pooled[left ? 0 : 9])) << at;
      EXPECT_TRUE(std::isnan(pooled[left ? 8 : 17])) << at;
      EXPECT_EQ(pooled[left ? 9 : 0], left ? 8.0F : 6.0F) << at;
    }
  }
}

TEST(ConvPoolValues, FirstOfEqualCellsGetsTheGradientAndClippedCellsNone) {
  const auto fused =
      layer(conv(1, {1, 1}, {1, 1}, "same", "relu"), pool({2, 2}, {2, 2}, "valid"), {1, 2, 4, 1}, {});
  for (const bool reference : {false, true}) {
    EXPECT_THAT(input_gradient(fused, {1, 3, -1, -2, 3, 3, -3, 0}, {{2}, {0}}, {5, 7}, reference),
                ::testing::ElementsAre(0, 10, 0, 0, 0, 0, 0, 0));
  }
}

}  // namespace
}  // namespace nacre
