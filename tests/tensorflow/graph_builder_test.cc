#include "serialize/tensorflow/graph_builder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/tensorflow/network_fixture.h"

namespace nacre {
namespace {

using ::testing::ElementsAre;

TEST(GraphBuilder, WritesAttributesOfEveryKind) {
  tensorflow::GraphDef graph;
  GraphBuilder builder(graph);
  const std::string name = builder.add("Op", "node", {"a", "b:1"},
                                       {{"flag", true},
                                        {"off", false},
                                        {"number", int64_t{-3}},
                                        {"real", 0.5F},
                                        {"text", std::string("SAME")},
                                        {"type", TfType::kInt32},
                                        {"list", std::vector<int64_t>{1, 2}}});
  EXPECT_EQ(name, "node");
  const auto& node = node_of(graph, "node");
  EXPECT_EQ(call_of(node), "Op(a, b:1)");
  const auto& attributes = node.attr();
  EXPECT_EQ(attributes.size(), 7U);
  EXPECT_TRUE(attributes.at("flag").b());
  EXPECT_EQ(attributes.at("off").value_case(), tensorflow::AttrValue::kB);
  EXPECT_EQ(attributes.at("number").i(), -3);
  EXPECT_EQ(attributes.at("real").f(), 0.5F);
  EXPECT_EQ(attributes.at("text").s(), "SAME");
  EXPECT_EQ(attributes.at("type").type(), tensorflow::DT_INT32);
  EXPECT_THAT(attributes.at("list").list().i(), ElementsAre(1, 2));
}

TEST(GraphBuilder, OneValueFillsAConstant) {
  tensorflow::GraphDef graph;
  GraphBuilder builder(graph);
  const float half = 0.5F;
  builder.constant("floats", Shape{2, 2}, std::span(&half, 1));
  const std::vector<int32_t> numbers{1, -2};
  builder.constant("numbers", Shape{2}, numbers);
  const auto& floats = node_of(graph, "floats").attr().at("value").tensor();
  EXPECT_EQ(floats.dtype(), tensorflow::DT_FLOAT);
  EXPECT_EQ(floats.tensor_shape().dim_size(), 2);
  EXPECT_THAT(floats.float_val(), ElementsAre(0.5F, 0.5F, 0.5F, 0.5F));
  const auto& ints = node_of(graph, "numbers").attr().at("value").tensor();
  EXPECT_THAT(ints.int_val(), ElementsAre(1, -2));
  EXPECT_EQ(node_of(graph, "numbers").attr().at("dtype").type(), tensorflow::DT_INT32);
}

TEST(GraphBuilder, ATakenNameGetsTheNextNumber) {
  tensorflow::GraphDef graph;
  GraphBuilder builder(graph);
  const auto add = [&](const std::string& name) { return builder.add("NoOp", name, {}, {}); };
  EXPECT_EQ(add("x"), "x");
  EXPECT_EQ(add("x_1"), "x_1");
  EXPECT_EQ(add("x"), "x_2");
  EXPECT_EQ(add("x"), "x_3");
  EXPECT_EQ(add("x_1"), "x_1_1");
  EXPECT_EQ(graph.node_size(), 5);
}

TEST(GraphBuilder, StopsAtTheLimit) {
  tensorflow::GraphDef graph;
  GraphBuilder builder(graph);
  for (size_t i = 0; i < GraphBuilder::kMaxNodes; ++i) builder.add("NoOp", std::to_string(i), {}, {});
  EXPECT_TRUE(builder.check_size().ok());
  for (int i = 0; i < 10; ++i) builder.add("NoOp", "more", {}, {});
  EXPECT_EQ(builder.check_size().code(), StatusCode::kLimit);
  EXPECT_LE(graph.node_size(), static_cast<int>(GraphBuilder::kMaxNodes) + 1);
}

}  // namespace
}  // namespace nacre
