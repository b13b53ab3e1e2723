// What each layer says of itself in TensorFlow's ops. That TensorFlow computes the same with them is what the
// judges check (tests/judges).
#include "layers/tensorflow_ops.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "layer_test.h"
#include "recording_sink.h"

namespace nacre {
namespace {

using ::testing::ElementsAre;
using Lines = std::vector<std::string>;

struct Description {
  Lines lines;
  std::string output;
};

/// Of layer "x" on tensors "a", "b", ...
Description describe(const LayerCase& layer) {
  const OpDef& op = find_builtin(layer.op);
  const auto created = create_operator(layer, Mode::kInference);
  EXPECT_TRUE(created.ok()) << created.status().message();
  DescribeRequest request{
      .scope = "x", .attributes = layer.attributes[0], .inputs = {}, .shapes = layer.inputs, .variables = {}};
  for (size_t i = 0; i < layer.inputs.size(); ++i) request.inputs.emplace_back(1, static_cast<char>('a' + i));
  for (const VariableSpec& spec : (*created)->info().variables) request.variables.push_back(spec.name);
  RecordingSink sink;
  const auto output = op.to_tensorflow(request, sink);
  EXPECT_TRUE(output.ok()) << output.status().message();
  return {sink.lines, output.ok() ? *output : ""};
}

Lines lines_of(const std::string& op, const AttrMap& attributes, const std::vector<Shape>& inputs) {
  return describe({op, {attributes}, inputs, {}}).lines;
}

const std::vector<Shape> kImage{{2, 9, 8, 4}};
const std::vector<Shape> kRow{{2, 6}};
const std::vector<int64_t> kTwoByOne{2, 1};

TEST(TensorflowOps, Conv2D) {
  const AttrMap plain{{"filters", int64_t{6}}, {"kernel_size", int64_t{3}}};
  EXPECT_THAT(
      lines_of("Conv2D", plain, kImage),
      ElementsAre("x/conv = Conv2D(a, kernel) strides=[1, 1, 1, 1] padding=VALID dilations=[1, 1, 1, 1]",
                  "x/bias_add = BiasAdd(x/conv, bias)"));
  AttrMap all = plain;
  all["padding"] = "same";
  all["strides"] = kTwoByOne;
  all["activation"] = "relu";
  EXPECT_THAT(
      lines_of("Conv2D", all, kImage),
      ElementsAre("x/conv = Conv2D(a, kernel) strides=[1, 2, 1, 1] padding=SAME dilations=[1, 1, 1, 1]",
                  "x/bias_add = BiasAdd(x/conv, bias)", "x/relu = Relu(x/bias_add)"));
  AttrMap dilated = plain;
  dilated["dilation_rate"] = kTwoByOne;
  dilated["use_bias"] = false;
  EXPECT_THAT(
      lines_of("Conv2D", dilated, kImage),
      ElementsAre("x/conv = Conv2D(a, kernel) strides=[1, 1, 1, 1] padding=VALID dilations=[1, 2, 1, 1]"));
}

TEST(TensorflowOps, Conv2DInGroups) {
  const AttrMap attributes{{"filters", int64_t{6}}, {"kernel_size", int64_t{1}}, {"groups", int64_t{2}}};
  EXPECT_THAT(lines_of("Conv2D", attributes, kImage),
              ElementsAre("x/split_axis = int[] {3}",  //
                          "x/channels = Split(x/split_axis, a) num_split=2",
                          "x/filters = Split(x/split_axis, kernel) num_split=2",
                          "x/conv = Conv2D(x/channels, x/filters) strides=[1, 1, 1, 1] padding=VALID "
                          "dilations=[1, 1, 1, 1]",
                          "x/conv_1 = Conv2D(x/channels:1, x/filters:1) strides=[1, 1, 1, 1] padding=VALID "
                          "dilations=[1, 1, 1, 1]",
                          "x/axis = int[] {3}",  //
                          "x/concat = ConcatV2(x/conv, x/conv_1, x/axis) N=2",
                          "x/bias_add = BiasAdd(x/concat, bias)"));
}

TEST(TensorflowOps, DepthwiseConv2D) {
  const AttrMap attributes{{"kernel_size", int64_t{3}},
                           {"strides", int64_t{2}},
                           {"padding", "same"},
                           {"depth_multiplier", int64_t{2}},
                           {"activation", "relu"}};
  EXPECT_THAT(lines_of("DepthwiseConv2D", attributes, kImage),
              ElementsAre("x/conv = DepthwiseConv2dNative(a, kernel) strides=[1, 2, 2, 1] padding=SAME",
                          "x/bias_add = BiasAdd(x/conv, bias)", "x/relu = Relu(x/bias_add)"));
}

TEST(TensorflowOps, Dense) {
  EXPECT_THAT(lines_of("Dense", {{"units", int64_t{3}}, {"activation", "relu"}}, kRow),
              ElementsAre("x/matmul = MatMul(a, kernel)", "x/bias_add = BiasAdd(x/matmul, bias)",
                          "x/relu = Relu(x/bias_add)"));
  EXPECT_THAT(lines_of("Dense", {{"units", int64_t{3}}, {"use_bias", false}}, kRow),
              ElementsAre("x/matmul = MatMul(a, kernel)"));
}

TEST(TensorflowOps, Pooling) {
  const AttrMap attributes{{"pool_size", std::vector<int64_t>{3, 2}}, {"padding", "same"}};
  EXPECT_THAT(lines_of("MaxPool2D", attributes, kImage),
              ElementsAre("x = MaxPool(a) ksize=[1, 3, 2, 1] strides=[1, 3, 2, 1] padding=SAME"));
  EXPECT_THAT(lines_of("AvgPool2D", {{"strides", int64_t{1}}}, kImage),
              ElementsAre("x = AvgPool(a) ksize=[1, 2, 2, 1] strides=[1, 1, 1, 1] padding=VALID"));
  EXPECT_THAT(lines_of("GlobalAvgPool2D", {}, kImage),
              ElementsAre("x/axes = int[2] {1, 2}", "x = Mean(a, x/axes) keep_dims=false"));
  EXPECT_THAT(lines_of("GlobalAvgPool2D", {{"keepdims", true}}, kImage),
              ElementsAre("x/axes = int[2] {1, 2}", "x = Mean(a, x/axes) keep_dims=true"));
}

TEST(TensorflowOps, ShapesAndSides) {
  EXPECT_THAT(lines_of("ZeroPad2D", {{"padding", std::vector<int64_t>{1, 2, 3, 4}}}, kImage),
              ElementsAre("x/paddings = int[4, 2] {0, 0, 1, 2, 3, 4, 0, 0}", "x = Pad(a, x/paddings)"));
  EXPECT_THAT(lines_of("Flatten", {}, kImage),
              ElementsAre("x/shape = int[2] {-1, 288}", "x = Reshape(a, x/shape)"));
  EXPECT_THAT(lines_of("Concat", {}, {{2, 3, 3, 1}, {2, 3, 3, 2}, {2, 3, 3, 1}}),
              ElementsAre("x/axis = int[] {3}", "x = ConcatV2(a, b, c, x/axis) N=3"));
  EXPECT_THAT(lines_of("Concat", {}, {{2, 3}, {2, 4}}),
              ElementsAre("x/axis = int[] {1}", "x = ConcatV2(a, b, x/axis) N=2"));
  EXPECT_THAT(lines_of("Add", {}, {{2, 3}, {2, 3}}), ElementsAre("x = AddV2(a, b)"));
  EXPECT_THAT(lines_of("Add", {}, {{2, 3}, {2, 3}, {2, 3}}),
              ElementsAre("x/sum = AddV2(a, b)", "x = AddV2(x/sum, c)"));
}

TEST(TensorflowOps, ASizeThatNeedsMoreThan32BitsIsRefused) {
  const std::vector<Shape> shapes{{1, int64_t{1} << 31}};
  const AttrMap none;
  const DescribeRequest request{
      .scope = "x", .attributes = none, .inputs = {"a"}, .shapes = shapes, .variables = {}};
  RecordingSink sink;
  const auto output = find_builtin("Flatten").to_tensorflow(request, sink);
  EXPECT_EQ(output.status().code(), StatusCode::kUnsupported);
}

TEST(TensorflowOps, Activations) {
  for (const auto& [op, name] : std::vector<std::pair<std::string, std::string>>{{"ReLU", "Relu"},
                                                                                 {"ReLU6", "Relu6"},
                                                                                 {"Sigmoid", "Sigmoid"},
                                                                                 {"Tanh", "Tanh"},
                                                                                 {"Softmax", "Softmax"},
                                                                                 {"ELU", "Elu"}}) {
    EXPECT_THAT(lines_of(op, {}, kRow), ElementsAre("x = " + name + "(a)"));
  }
  EXPECT_THAT(lines_of("LeakyReLU", {{"negative_slope", 0.25}}, kRow),
              ElementsAre("x = LeakyRelu(a) alpha=0.25"));
  EXPECT_THAT(
      lines_of("ELU", {{"alpha", 0.5}}, kRow),
      ElementsAre("x/zero = float[] {0}", "x/alpha = float[] {0.5}",  //
                  "x/negative = Minimum(a, x/zero)", "x/elu = Elu(x/negative)",
                  "x/scaled = Mul(x/elu, x/alpha)", "x/relu = Relu(a)", "x = AddV2(x/relu, x/scaled)"));
}

TEST(TensorflowOps, BatchNormOfImages) {
  EXPECT_THAT(lines_of("BatchNorm", {{"epsilon", 0.5}}, kImage),
              ElementsAre("x = FusedBatchNormV3(a, gamma, beta, moving_mean, moving_variance) U=float "
                          "epsilon=0.5 is_training=false"));
  EXPECT_THAT(lines_of("BatchNorm", {{"epsilon", 0.5}, {"scale", false}, {"center", false}}, kImage),
              ElementsAre("x/ones = float[4] {1}", "x/zeros = float[4] {0}",
                          "x = FusedBatchNormV3(a, x/ones, x/zeros, moving_mean, moving_variance) U=float "
                          "epsilon=0.5 is_training=false"));
}

TEST(TensorflowOps, BatchNormOfRows) {
  const Lines start{"x/epsilon = float[] {0.5}", "x/variance = AddV2(moving_variance, x/epsilon)",
                    "x/rsqrt = Rsqrt(x/variance)"};
  const auto expect_lines = [&](bool scale, bool center, Lines more) {
    more.insert(more.begin(), start.begin(), start.end());
    EXPECT_EQ(lines_of("BatchNorm", {{"epsilon", 0.5}, {"scale", scale}, {"center", center}}, kRow), more);
  };
  expect_lines(
      true, true,
      {"x/scale = Mul(x/rsqrt, gamma)", "x/scaled = Mul(a, x/scale)", "x/middle = Mul(moving_mean, x/scale)",
       "x/shift = Sub(beta, x/middle)", "x = AddV2(x/scaled, x/shift)"});
  expect_lines(false, true,
               {"x/scaled = Mul(a, x/rsqrt)", "x/middle = Mul(moving_mean, x/rsqrt)",
                "x/shift = Sub(beta, x/middle)", "x = AddV2(x/scaled, x/shift)"});
  expect_lines(true, false,
               {"x/scale = Mul(x/rsqrt, gamma)", "x/scaled = Mul(a, x/scale)",
                "x/middle = Mul(moving_mean, x/scale)", "x = Sub(x/scaled, x/middle)"});
  expect_lines(
      false, false,
      {"x/scaled = Mul(a, x/rsqrt)", "x/middle = Mul(moving_mean, x/rsqrt)", "x = Sub(x/scaled, x/middle)"});
}

TEST(TensorflowOps, DropoutIsNothing) {
  const Description dropout = describe({"Dropout", {{}}, kRow, {}});
  EXPECT_TRUE(dropout.lines.empty());
  EXPECT_EQ(dropout.output, "a");
}

}  // namespace
}  // namespace nacre
