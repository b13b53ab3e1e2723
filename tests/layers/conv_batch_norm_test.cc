#include <gmock/gmock.h>

#include "engine/executor.h"
#include "layer_runner.h"
#include "layer_test.h"
#include "layers/registry.h"

namespace nacre {
namespace {

using Extents = std::vector<int64_t>;
using ::testing::ElementsAre;

AttrMap conv(int64_t filters, bool bias, const char* activation = "linear") {
  return {{"filters", filters},
          {"kernel_size", int64_t{3}},
          {"padding", std::string("same")},
          {"use_bias", bias},
          {"activation", std::string(activation)}};
}

AttrMap depthwise(int64_t multiplier, bool bias, const char* activation = "linear") {
  return {{"kernel_size", int64_t{3}},
          {"padding", std::string("same")},
          {"depth_multiplier", multiplier},
          {"use_bias", bias},
          {"activation", std::string(activation)}};
}

/// The chain that starts with `first`, over `input`.
LayerCase chain(const std::string& op, const AttrMap& first, const AttrMap& norm, const Shape& input,
                const Shape& output) {
  std::vector<AttrMap> attributes{first, norm};
  if (op.ends_with("ReLU") || op.ends_with("ReLU6")) attributes.emplace_back();
  return {op, attributes, {input}, output};
}

bool is_separable(const std::string& op) {
  return op.starts_with("Depthwise") && op.find("+Conv2D") != std::string::npos;
}

/// A depthwise convolution and a Conv2D, each with the BatchNorm behind it.
LayerCase separable(const std::string& op, AttrMap first, AttrMap second, const Shape& input,
                    const Shape& output) {
  second.insert_or_assign("kernel_size", int64_t{1});
  std::vector<AttrMap> attributes{std::move(first), {{"epsilon", 0.1}}, {}, std::move(second), {}};
  if (!op.ends_with("BatchNorm")) attributes.emplace_back();
  return {op, attributes, {input}, output};
}

std::vector<LayerCase> separable_cases(const std::string& op) {
  AttrMap strided = depthwise(1, true);
  strided["strides"] = int64_t{2};
  AttrMap wide = depthwise(1, false);
  wide["kernel_size"] = std::vector<int64_t>{5, 2};
  wide["padding"] = std::string("valid");
  return {separable(op, depthwise(1, true), conv(1, true), {1, 1, 1, 1}, {1, 1, 1, 1}),
          separable(op, depthwise(1, false), conv(19, false), {3, 5, 7, 17}, {3, 5, 7, 19}),
          separable(op, strided, conv(70, true), {2, 6, 9, 3}, {2, 3, 5, 70}),
          // The filters are shared by threads.
          separable(op, depthwise(1, true), conv(100, false), {1, 3, 3, 40}, {1, 3, 3, 100}),
          // Pieces of several images, the last one short; pieces of an image.
          separable(op, wide, conv(33, true), {23, 9, 6, 5}, {23, 5, 5, 33}),
          separable(op, strided, conv(9, true), {2, 75, 66, 20}, {2, 38, 33, 9})};
}

std::vector<LayerCase> cases(const std::string& op) {
  if (is_separable(op)) return separable_cases(op);
  const AttrMap plain{{"scale", false}, {"center", false}};
  if (op.starts_with("Depthwise")) {
    return {chain(op, depthwise(1, true), {}, {1, 1, 1, 1}, {1, 1, 1, 1}),
            chain(op, depthwise(1, false), {}, {3, 5, 7, 17}, {3, 5, 7, 17}),
            chain(op, depthwise(3, true), {{"epsilon", 0.1}}, {2, 5, 3, 3}, {2, 5, 3, 9}),
            chain(op, depthwise(2, true), plain, {2, 5, 3, 4}, {2, 5, 3, 8})};
  }
  AttrMap strided = conv(6, true);
  strided["strides"] = int64_t{2};
  strided["groups"] = int64_t{3};
  AttrMap pointwise = conv(5, false);
  pointwise["kernel_size"] = int64_t{1};
  return {chain(op, conv(1, true), {}, {1, 1, 1, 1}, {1, 1, 1, 1}),
          chain(op, conv(17, false), {}, {3, 5, 7, 3}, {3, 5, 7, 17}),
          chain(op, strided, {{"epsilon", 0.1}, {"center", false}}, {2, 5, 4, 3}, {2, 3, 2, 6}),
          chain(op, pointwise, plain, {2, 5, 4, 3}, {2, 5, 4, 5}),
          // More than one stripe. Results are compared by the largest one, and ReLU6 hides that of the sums,
          // by which they are rounded: those should not be far above.
          chain(op, conv(3, true), {{"scale", false}, {"epsilon", 0.1}}, {2, 70, 33, 9}, {2, 70, 33, 3})};
}

std::vector<RefusalCase> refusals(const std::string& op) {
  if (is_separable(op)) {
    const Shape input{2, 5, 5, 1};
    // No such operator in training.
    return {{separable(op, depthwise(1, true), conv(2, true), input, {}), ""},
            {separable(op, depthwise(1, true), {}, input, {}), "filters"},
            {separable(op, depthwise(1, true), conv(2, true), {2, 5}, {}), "[N, H, W, C]"}};
  }
  const bool deep = op.starts_with("Depthwise");
  const AttrMap first = deep ? depthwise(1, true) : conv(2, true);
  return {{chain(op, first, {}, {2, 5, 5, 1}, {}), ""},  // no such operator in training
          {chain(op, first, {{"epsilon", 2.0}}, {2, 5, 5, 1}, {}), "epsilon"},
          {chain(op, first, {}, {2, 5}, {}), "[N, H, W, C]"}};
}

/// The layers of the chain one after the other, in double, on the variables of `fused`.
std::vector<double> one_by_one(const LayerCase& fused, const LayerRunner<float>& from) {
  std::vector<double> values;
  Shape shape = fused.inputs[0];
  for (int64_t i = 0; i < from.inputs[0].size(); ++i) values.push_back(from.inputs[0].data()[i]);
  size_t next = 0;
  const auto& pattern = find_builtin(fused.op).pattern;
  for (size_t link = 0; link < pattern.size(); ++link) {
    const auto op =
        std::move(create_operator({pattern[link], {fused.attributes[link]}, {shape}, {}}, Mode::kInference))
            .value();
    LayerRunner<double> run(*op, {shape}, shape[0], 1);
    run.context.mode = Mode::kInference;
    std::ranges::copy(values, run.inputs[0].data());
    for (auto& variable : run.variables) {
      std::copy_n(from.variables[next++].data(), variable.size(), variable.data());
    }
    run.forward(true);
    values.assign(run.output.data(), run.output.data() + run.output.size());
    shape = op->info().output;
  }
  EXPECT_EQ(next, from.variables.size());
  return values;
}

class ConvBatchNormChain : public ::testing::TestWithParam<LayerCase> {};

TEST_P(ConvBatchNormChain, EqualsTheLayers) {
  const auto op = std::move(create_operator(GetParam(), Mode::kInference)).value();
  ASSERT_NE(op, nullptr);
  LayerRunner<float> fused(*op, GetParam().inputs, GetParam().inputs[0][0], 1);
  fused.fill();
  fused.context.mode = Mode::kInference;
  // Some sums go beyond 6.
  for (int64_t i = 0; i < fused.inputs[0].size(); ++i) fused.inputs[0].data()[i] *= 20.0F;
  for (const bool reference : {false, true}) {
    fused.forward(reference);
    const auto expected = one_by_one(GetParam(), fused);
    ASSERT_EQ(static_cast<size_t>(fused.output.size()), expected.size());
    for (size_t i = 0; i < expected.size(); ++i) ASSERT_NEAR(fused.output.data()[i], expected[i], 2e-3) << i;
  }
}

TEST(ConvBatchNorm, AnActivationBetweenThemKeepsThemApart) {
  for (const std::string op : {"Conv2D+BatchNorm", "Conv2D+BatchNorm+ReLU", "DepthwiseConv2D+BatchNorm",
                               "DepthwiseConv2D+BatchNorm+ReLU6"}) {
    const auto unit_of = [&](const char* activation) {
      const AttrMap first =
          op.starts_with("Depthwise") ? depthwise(1, true, activation) : conv(2, true, activation);
      auto made = create_operator(chain(op, first, {}, {2, 5, 5, 1}, {}), Mode::kInference);
      EXPECT_TRUE(made.ok()) << made.status().message();
      return made.ok() ? std::move(*made) : nullptr;
    };
    EXPECT_EQ(unit_of("relu"), nullptr) << op;
    EXPECT_NE(unit_of("linear"), nullptr) << op;
  }
}

#define NACRE_TEST_CHAIN(suite, name)                                                \
  INSTANTIATE_TEST_SUITE_P(suite, LayerTest, ::testing::ValuesIn(cases(name)));      \
  INSTANTIATE_TEST_SUITE_P(suite, RefusalTest, ::testing::ValuesIn(refusals(name))); \
  INSTANTIATE_TEST_SUITE_P(suite, ConvBatchNormChain, ::testing::ValuesIn(cases(name)))

NACRE_TEST_CHAIN(Conv2DBatchNorm, "Conv2D+BatchNorm");
NACRE_TEST_CHAIN(Conv2DBatchNormReLU, "Conv2D+BatchNorm+ReLU");
NACRE_TEST_CHAIN(Conv2DBatchNormReLU6, "Conv2D+BatchNorm+ReLU6");
NACRE_TEST_CHAIN(DepthwiseConv2DBatchNorm, "DepthwiseConv2D+BatchNorm");
NACRE_TEST_CHAIN(DepthwiseConv2DBatchNormReLU, "DepthwiseConv2D+BatchNorm+ReLU");
NACRE_TEST_CHAIN(DepthwiseConv2DBatchNormReLU6, "DepthwiseConv2D+BatchNorm+ReLU6");

NACRE_TEST_CHAIN(DepthwiseConv2DBatchNormReLUConv2DBatchNormReLU,
                 "DepthwiseConv2D+BatchNorm+ReLU+Conv2D+BatchNorm+ReLU");
NACRE_TEST_CHAIN(DepthwiseConv2DBatchNormReLU6Conv2DBatchNormReLU6,
                 "DepthwiseConv2D+BatchNorm+ReLU6+Conv2D+BatchNorm+ReLU6");
NACRE_TEST_CHAIN(DepthwiseConv2DBatchNormReLU6Conv2DBatchNorm,
                 "DepthwiseConv2D+BatchNorm+ReLU6+Conv2D+BatchNorm");

TEST(SeparableConv, TakesOnlyConvolutionsOfOneByOne) {
  const std::string op = "DepthwiseConv2D+BatchNorm+ReLU+Conv2D+BatchNorm+ReLU";
  const auto takes = [&](const AttrMap& first, AttrMap second, const char* name, const AttrValue& value) {
    LayerCase layer = separable(op, first, second, {2, 5, 5, 4}, {});
    if (name != nullptr) layer.attributes[3].insert_or_assign(name, value);
    return *create_operator(layer, Mode::kInference) != nullptr;
  };
  EXPECT_TRUE(takes(depthwise(1, true), conv(2, true), nullptr, {}));
  EXPECT_FALSE(takes(depthwise(2, true), conv(2, true), nullptr, {}));
  EXPECT_FALSE(takes(depthwise(1, true, "relu"), conv(2, true), nullptr, {}));
  EXPECT_FALSE(takes(depthwise(1, true), conv(2, true, "relu"), nullptr, {}));
  EXPECT_FALSE(takes(depthwise(1, true), conv(2, true), "strides", int64_t{2}));
  EXPECT_FALSE(takes(depthwise(1, true), conv(2, true), "groups", int64_t{2}));
  EXPECT_FALSE(takes(depthwise(1, true), conv(2, true), "kernel_size", int64_t{3}));
}

Node node(const char* name, const char* op, std::vector<std::string> inputs, AttrMap attributes = {}) {
  return {name, op, 1, std::move(attributes), std::move(inputs)};
}

std::vector<std::string> units(std::vector<Node> nodes, Mode mode) {
  const Registry registry = builtin_ops();
  const Graph graph = std::move(Graph::make(std::move(nodes))).value();
  PlanOptions options;
  options.mode = mode;
  const Plan plan = std::move(Plan::make(graph, registry, Shape{4, 4, 2}, options)).value();
  std::vector<std::string> names;
  for (const Unit& unit : plan.units()) names.push_back(unit.name + ": " + unit.op->name);
  return names;
}

TEST(ConvBatchNormPlan, TheLongestChainWinsInInference) {
  const std::vector<Node> nodes{node("a", "Conv2D", {"input"}, conv(2, true)),
                                node("b", "BatchNorm", {"a"}),
                                node("c", "ReLU", {"b"}),
                                node("d", "DepthwiseConv2D", {"c"}, depthwise(1, false)),
                                node("e", "BatchNorm", {"d"}),
                                node("f", "ReLU6", {"e"}),
                                node("g", "Conv2D", {"f"}, conv(3, false)),
                                node("h", "BatchNorm", {"g"}),
                                node("i", "LeakyReLU", {"h"})};
  EXPECT_THAT(units(nodes, Mode::kInference),
              ElementsAre("a+b+c: Conv2D+BatchNorm+ReLU", "d+e+f: DepthwiseConv2D+BatchNorm+ReLU6",
                          "g+h: Conv2D+BatchNorm", "i: LeakyReLU"));
  // In training BatchNorm needs the convolution's sums, and takes the activation.
  EXPECT_THAT(units(nodes, Mode::kTraining),
              ElementsAre("a: Conv2D", "b+c: BatchNorm+ReLU", "d: DepthwiseConv2D", "e+f: BatchNorm+ReLU6",
                          "g: Conv2D", "h: BatchNorm", "i: LeakyReLU"));
}

TEST(ConvBatchNormPlan, WhatABranchReadsIsKept) {
  EXPECT_THAT(units({node("a", "Conv2D", {"input"}, conv(2, true)), node("b", "BatchNorm", {"a"}),
                     node("c", "ReLU", {"b"}), node("sum", "Add", {"b", "c"})},
                    Mode::kInference),
              ElementsAre("a+b: Conv2D+BatchNorm", "c: ReLU", "sum: Add"));
}

}  // namespace
}  // namespace nacre
