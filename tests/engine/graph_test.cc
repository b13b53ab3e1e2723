#include "engine/graph.h"

#include <chrono>

#include "tests/engine/toy_ops.h"

namespace nacre {
namespace {

std::vector<std::string> names(const Graph& graph) {
  std::vector<std::string> result;
  for (const Node& node : graph.nodes()) result.push_back(node.name);
  return result;
}

std::string error_of(std::vector<Node> nodes) {
  const auto graph = Graph::make(std::move(nodes));
  if (graph.ok()) return "no error";
  EXPECT_EQ(graph.status().code(), StatusCode::kBadData);
  EXPECT_LT(graph.status().message().size(), 500U);
  EXPECT_EQ(graph.status().message().find('\n'), std::string::npos);
  return graph.status().message();
}

Node square(const std::string& name, const std::string& input) {
  return toy_node(name, "Square", {input});
}

using testing::ElementsAre;
using testing::HasSubstr;

TEST(Graph, AValidOrderIsKept) {
  // "z" and "a" could stand either way round.
  const auto graph =
      Graph::make({square("z", "input"), square("a", "input"), toy_node("m", "Sum", {"a", "z"})});
  ASSERT_TRUE(graph.ok()) << graph.status().message();
  EXPECT_THAT(names(*graph), ElementsAre("z", "a", "m"));
  EXPECT_THAT(graph->producers(), ElementsAre(ElementsAre(-1), ElementsAre(-1), ElementsAre(1, 0)));
  EXPECT_EQ(graph->output().name, "m");
}

TEST(Graph, OtherOrdersAreSorted) {
  const auto graph =
      Graph::make({toy_node("sum", "Sum", {"b", "a"}), square("b", "a"), square("a", "input")});
  ASSERT_TRUE(graph.ok()) << graph.status().message();
  EXPECT_THAT(names(*graph), ElementsAre("a", "b", "sum"));
  EXPECT_THAT(graph->producers(), ElementsAre(ElementsAre(-1), ElementsAre(0), ElementsAre(1, 0)));
}

TEST(Graph, ANodeMayReadAValueTwice) {
  const auto graph = Graph::make({square("a", "input"), toy_node("s", "Sum", {"a", "a", "input"})});
  ASSERT_TRUE(graph.ok()) << graph.status().message();
  EXPECT_THAT(graph->producers()[1], ElementsAre(0, 0, -1));
}

TEST(Graph, ValidNamesAreSafeInFiles) {
  for (const char* name : {"a", "conv1", "Conv_1-b.c", "9", "-", "_", "a..b", "a."}) {
    EXPECT_TRUE(is_valid_name(name)) << name;
  }
  for (const char* name :
       {"", ".", "..", ".a", "a/b", "/a", "../a", "a b", "a\n", "a:0", "a\\b", "\xC3\xA4", "a+b"}) {
    EXPECT_FALSE(is_valid_name(name)) << name;
  }
  EXPECT_FALSE(is_valid_name(std::string_view("a\0b", 3)));
  EXPECT_TRUE(is_valid_name(std::string(255, 'a')));
  EXPECT_FALSE(is_valid_name(std::string(256, 'a')));
}

TEST(Graph, InvalidNamesAreRefused) {
  EXPECT_THAT(error_of({square("", "input")}), HasSubstr("node 0: \"\" is not a valid name"));
  EXPECT_THAT(error_of({square("../../etc/x", "input")}), HasSubstr("\"../../etc/x\" is not a valid name"));
  EXPECT_THAT(error_of({square("ok", "input"), square("a\nb", "ok")}), HasSubstr("node 1: \"a\\nb\""));
  EXPECT_THAT(error_of({square(std::string(256, 'a'), "input")}), HasSubstr("is not a valid name"));
  EXPECT_THAT(error_of({square(std::string(1 << 20, 'a'), "input")}), HasSubstr("is not a valid name"));
  EXPECT_THAT(error_of({square("input", "input")}), HasSubstr("the graph's own input"));
}

TEST(Graph, DuplicateNamesAreRefused) {
  EXPECT_THAT(error_of({square("a", "input"), square("a", "input")}), HasSubstr("two nodes are named \"a\""));
}

TEST(Graph, ANodeNeedsInputsThatExist) {
  EXPECT_THAT(error_of({toy_node("a", "Square", {})}), HasSubstr("node \"a\" has no input"));
  EXPECT_THAT(error_of({square("a", "b")}), HasSubstr("node \"a\" reads \"b\", which does not exist"));
  EXPECT_THAT(error_of({square("a", "")}), HasSubstr("does not exist"));
  EXPECT_THAT(error_of({square("a", std::string(1 << 20, 'b'))}), HasSubstr("does not exist"));
  EXPECT_THAT(error_of({}), HasSubstr("without nodes"));
}

TEST(Graph, CyclesAreRefused) {
  EXPECT_THAT(error_of({square("a", "a")}), HasSubstr("node \"a\" reads itself"));
  EXPECT_THAT(error_of({square("a", "b"), square("b", "a")}), HasSubstr("cycle"));
  EXPECT_THAT(error_of({square("first", "input"), toy_node("a", "Sum", {"first", "c"}), square("b", "a"),
                        square("c", "b"), square("last", "c")}),
              HasSubstr("cycle through or before node \"a\""));
}

TEST(Graph, OneOutputOnly) {
  const std::string error = error_of({square("a", "input"), square("b", "a"), square("c", "a")});
  EXPECT_THAT(error, HasSubstr("2 outputs"));
  EXPECT_THAT(error, HasSubstr("\"b\" and \"c\""));
}

TEST(Graph, AChainOfTheMostNodesIsFast) {
  const auto start = std::chrono::steady_clock::now();
  std::vector<Node> nodes;
  for (size_t i = Graph::kMaxNodes; i-- > 0;) {
    nodes.push_back(square("n" + std::to_string(i), i == 0 ? "input" : "n" + std::to_string(i - 1)));
  }
  auto graph = Graph::make(nodes);
  ASSERT_TRUE(graph.ok()) << graph.status().message();
  EXPECT_EQ(graph->nodes().front().name, "n0");
  EXPECT_EQ(graph->output().name, "n65535");
  EXPECT_EQ(graph->producers().back(), std::vector<int>{65534});
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  EXPECT_LT(seconds.count(), 10.0);

  nodes.push_back(square("more", "n65535"));
  graph = Graph::make(std::move(nodes));
  ASSERT_FALSE(graph.ok());
  EXPECT_EQ(graph.status().code(), StatusCode::kLimit);
}

std::vector<Node> redrawn(std::vector<Node> nodes) {
  const auto graph = Graph::make(std::move(nodes));
  EXPECT_TRUE(graph.ok()) << graph.status().message();
  const auto result = redraw_for_prediction(*graph, toy_registry());
  EXPECT_TRUE(result.ok()) << result.status().message();
  return result.ok() ? result->nodes() : std::vector<Node>{};
}

Node noise(const std::string& name, const std::string& input) {
  return toy_node(name, "Noise", {input});
}

Node prediction(const std::string& input) {
  return toy_node("prediction", "Softmax", {input});
}

TEST(Redraw, LeavesOutTrainingInTheMiddle) {
  EXPECT_EQ(redrawn({square("a", "input"), noise("drop", "a"), toy_node("b", "Scale", {"drop"})}),
            (std::vector<Node>{square("a", "input"), toy_node("b", "Scale", {"a"}), prediction("b")}));
}

TEST(Redraw, LeavesOutSeveralInARowAndAtBothEnds) {
  EXPECT_EQ(redrawn({noise("d0", "input"), square("a", "d0"), noise("d1", "a"), noise("d2", "d1"),
                     square("b", "d2"), noise("d3", "b"), noise("d4", "d3")}),
            (std::vector<Node>{square("a", "input"), square("b", "a"), prediction("b")}));
}

TEST(Redraw, EveryReaderReadsWhatWasReadBefore) {
  EXPECT_EQ(redrawn({square("a", "input"), noise("d", "a"), square("b", "d"),
                     toy_node("s", "Sum", {"d", "b", "a"})}),
            (std::vector<Node>{square("a", "input"), square("b", "a"), toy_node("s", "Sum", {"a", "b", "a"}),
                               prediction("s")}));
}

TEST(Redraw, KeepsASoftmaxAtTheEnd) {
  const Node softmax = toy_node("probabilities", "Softmax", {"a"});
  EXPECT_EQ(redrawn({square("a", "input"), softmax}), (std::vector<Node>{square("a", "input"), softmax}));
  EXPECT_EQ(redrawn({square("a", "input"), softmax, noise("d", "probabilities")}),
            (std::vector<Node>{square("a", "input"), softmax}));
}

TEST(Redraw, ASoftmaxInTheMiddleIsNotTheEnd) {
  const Node softmax = toy_node("attention", "Softmax", {"input"});
  EXPECT_EQ(redrawn({softmax, square("a", "attention")}),
            (std::vector<Node>{softmax, square("a", "attention"), prediction("a")}));
}

TEST(Redraw, AttributesAndVersionsStay) {
  Node node = toy_node("a", "Scale", {"input"}, {{"width", int64_t{3}}});
  node.op_version = 1;
  EXPECT_EQ(redrawn({node}), (std::vector<Node>{node, prediction("a")}));
}

TEST(Redraw, ErrorsNameTheNode) {
  const auto unknown = Graph::make({toy_node("a", "Mystery", {"input"})});
  const auto result = redraw_for_prediction(*unknown, toy_registry());
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.status().code(), StatusCode::kUnsupported);
  EXPECT_THAT(result.status().message(),
              HasSubstr("node \"a\": unknown op \"Mystery\"; known are Scale, Square"));

  const auto empty = Graph::make({noise("d", "input")});
  EXPECT_EQ(redraw_for_prediction(*empty, toy_registry()).status().code(), StatusCode::kBadData);

  const auto clash = Graph::make({square("prediction", "input")});
  const Status status = redraw_for_prediction(*clash, toy_registry()).status();
  EXPECT_EQ(status.code(), StatusCode::kBadData);
  EXPECT_THAT(status.message(), HasSubstr("\"prediction\""));
}

}  // namespace
}  // namespace nacre
