#include "engine/plan.h"

#include <algorithm>

#include "tests/engine/toy_ops.h"

namespace nacre {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const Registry& registry() {
  static const Registry ops = toy_registry();
  return ops;
}

PlanOptions training(int64_t batch = 4) {
  PlanOptions options;
  options.batch = batch;
  options.mode = Mode::kTraining;
  return options;
}

Result<Plan> plan_of(std::vector<Node> nodes, const PlanOptions& options, const Shape& row = {2, 3, 1}) {
  const auto graph = Graph::make(std::move(nodes));
  EXPECT_TRUE(graph.ok()) << graph.status().message();
  return Plan::make(*graph, registry(), row, options);
}

Status error_of(std::vector<Node> nodes, const PlanOptions& options = {}, const Shape& row = {2, 3, 1}) {
  return plan_of(std::move(nodes), options, row).status();
}

std::vector<std::string> unit_names(const Plan& plan) {
  std::vector<std::string> names;
  for (const Unit& unit : plan.units()) names.push_back(unit.name);
  return names;
}

std::vector<Node> scale_square() {
  return {toy_node("a", "Scale", {"input"}), toy_node("b", "Square", {"a"})};
}

TEST(Plan, ShapesAndSummary) {
  for (const bool fuse : {false, true}) {
    PlanOptions options = training();
    options.fuse = fuse;
    const auto plan = plan_of(scale_square(), options);
    ASSERT_TRUE(plan.ok()) << plan.status().message();
    EXPECT_EQ(plan->input_shape(), (Shape{4, 2, 3, 1}));
    EXPECT_EQ(plan->output_shape(), (Shape{4, 2, 3, 1}));
    ASSERT_EQ(plan->nodes().size(), 2U);
    EXPECT_EQ(plan->nodes()[0].name, "a");
    EXPECT_EQ(plan->nodes()[0].op, "Scale");
    EXPECT_EQ(plan->nodes()[0].output, (Shape{1, 2, 3, 1}));
    EXPECT_EQ(plan->nodes()[0].parameters, 12);
    EXPECT_EQ(plan->nodes()[0].flops_per_row, 12);
    EXPECT_EQ(plan->nodes()[1].parameters, 0);
    ASSERT_EQ(plan->variables().size(), 2U);
    EXPECT_EQ(plan->variables()[0].name, "a/factor");
    EXPECT_TRUE(plan->variables()[0].decay);
    EXPECT_EQ(plan->variables()[1].name, "a/shift");
    EXPECT_FALSE(plan->variables()[1].decay);
  }
}

TEST(Plan, FusesAChainAlsoWhereItEndsTheGraph) {
  EXPECT_THAT(unit_names(*plan_of(scale_square(), training())), ElementsAre("a+b"));
  std::vector<Node> longer = scale_square();
  longer.push_back(toy_node("c", "Scale", {"b"}));
  EXPECT_THAT(unit_names(*plan_of(longer, training())), ElementsAre("a+b", "c"));
  PlanOptions options = training();
  options.fuse = false;
  EXPECT_THAT(unit_names(*plan_of(longer, options)), ElementsAre("a", "b", "c"));
  options.fuse = true;
  options.reference = true;
  EXPECT_THAT(unit_names(*plan_of(longer, options)), ElementsAre("a", "b", "c"));
}

TEST(Plan, FusesBehindWhatIsNotFused) {
  EXPECT_THAT(unit_names(*plan_of({toy_node("first", "Square", {"input"}), toy_node("a", "Scale", {"first"}),
                                   toy_node("b", "Square", {"a"})},
                                  training())),
              ElementsAre("first", "a+b"));
}

TEST(Plan, DoesNotFuseWhatOthersRead) {
  std::vector<Node> nodes = scale_square();
  nodes.push_back(toy_node("s", "Sum", {"a", "b"}));
  EXPECT_THAT(unit_names(*plan_of(nodes, training())), ElementsAre("a", "b", "s"));
}

TEST(Plan, AFusedOpMayDecline) {
  EXPECT_THAT(unit_names(*plan_of(
                  {toy_node("a", "Scale", {"input"}, {{"fusable", false}}), toy_node("b", "Square", {"a"})},
                  training())),
              ElementsAre("a", "b"));
}

TEST(Plan, FusedOpsCannotBeNamed) {
  const Status status = error_of({toy_node("a", "ScaleSquare", {"input"})});
  EXPECT_EQ(status.code(), StatusCode::kUnsupported);
  EXPECT_THAT(status.message(),
              HasSubstr("node \"a\": unknown op \"ScaleSquare\"; known are Scale, Square, Sum"));
}

TEST(Plan, ErrorsNameTheNode) {
  Status status = error_of(
      {toy_node("ok", "Scale", {"input"}), toy_node("bad", "Scale", {"ok"}, {{"width", int64_t{1001}}})});
  EXPECT_EQ(status.code(), StatusCode::kBadData);
  EXPECT_THAT(status.message(), HasSubstr("node \"bad\" (Scale): attribute \"width\" is 1001"));
  status = error_of({toy_node("w", "Scale", {"input"}, {{"width", int64_t{5}}})});
  EXPECT_THAT(status.message(), HasSubstr("node \"w\" (Scale): a row of 6 elements, expected 5"));
  status = error_of({toy_node("s", "Sum", {"input"})});
  EXPECT_EQ(status.code(), StatusCode::kBadData);
  EXPECT_THAT(status.message(), HasSubstr("node \"s\": Sum takes 2 to 3 inputs, found 1"));
  EXPECT_THAT(error_of({toy_node("s", "Sum", {"input", "input", "input", "input"})}).message(),
              HasSubstr("found 4"));
}

TEST(Plan, VersionsOfOpsAreChecked) {
  for (const int version : {2, 0, -1}) {
    Node node = toy_node("a", "Scale", {"input"});
    node.op_version = version;
    const Status status = error_of({node});
    EXPECT_EQ(status.code(), StatusCode::kUnsupported);
    EXPECT_THAT(status.message(), HasSubstr("node \"a\": Scale of version " + std::to_string(version)));
  }
}

TEST(Plan, BatchesAndInputsAreChecked) {
  for (const int64_t batch : {0, -1}) {
    PlanOptions options;
    options.batch = batch;
    EXPECT_EQ(error_of(scale_square(), options).code(), StatusCode::kUsage);
  }
  PlanOptions options;
  options.batch = int64_t{1} << 40;
  EXPECT_EQ(error_of(scale_square(), options, {1 << 10, 1 << 10, 3}).code(), StatusCode::kBadData);
}

TEST(Plan, MemoryIsLimitedBeforeItIsAllocated) {
  PlanOptions options;
  options.batch = 1 << 20;
  Status status = error_of(scale_square(), options, {1 << 10, 1 << 10, 3});
  EXPECT_EQ(status.code(), StatusCode::kLimit);
  EXPECT_THAT(status.message(), HasSubstr("a batch of 1048576 rows would need more than 16384 MiB"));
  // 1 row: 2 values of 64 KiB fit, scratch memory of 128 KiB for each of 100 threads does not.
  options.batch = 1;
  options.fuse = false;
  options.max_bytes = size_t{1} << 20;
  EXPECT_TRUE(error_of(scale_square(), options, {1 << 14, 1, 1}).ok());
  options.threads = 100;
  EXPECT_EQ(error_of(scale_square(), options, {1 << 14, 1, 1}).code(), StatusCode::kLimit);
}

TEST(Plan, VariablesAreLimitedToo) {
  std::vector<Node> nodes;
  for (int i = 0; i < 40; ++i) {
    nodes.push_back(
        toy_node("n" + std::to_string(i), "Scale", {i == 0 ? "input" : "n" + std::to_string(i - 1)}));
  }
  PlanOptions options;
  options.max_bytes = size_t{1} << 22;  // 40 nodes have 2 variables of 64 KiB each: more than 4 MiB
  const Status status = error_of(nodes, options, {1 << 14, 1, 1});
  EXPECT_EQ(status.code(), StatusCode::kLimit);
  EXPECT_THAT(status.message(), HasSubstr("/factor [16384]"));
}

TEST(Plan, InferenceNeedsLessThanTraining) {
  std::vector<Node> nodes;
  for (int i = 0; i < 8; ++i) {
    nodes.push_back(
        toy_node("n" + std::to_string(i), "Scale", {i == 0 ? "input" : "n" + std::to_string(i - 1)}));
  }
  PlanOptions options = training(16);
  const size_t value = 16 * 64 * sizeof(float);
  EXPECT_GE(plan_of(nodes, options, {64, 1, 1})->arena_bytes(), 8 * value);
  options.mode = Mode::kInference;
  EXPECT_EQ(plan_of(nodes, options, {64, 1, 1})->arena_bytes(), 2 * value);
}

TEST(Plan, AViewLiesWhereItsInputDoes) {
  const std::vector<Node> nodes{toy_node("v", "View", {"input"}), toy_node("a", "Scale", {"v"}),
                                toy_node("w", "View", {"a"}),     toy_node("x", "View", {"w"}),
                                toy_node("b", "Scale", {"x"}),    toy_node("s", "Sum", {"a", "b"})};
  const size_t value = 4 * 64 * sizeof(float);
  for (const Mode mode : {Mode::kTraining, Mode::kInference}) {
    PlanOptions options = training();
    options.mode = mode;
    const auto plan = plan_of(nodes, options, {64, 1, 1});
    const std::vector<Unit>& units = plan->units();
    // The graph's input is not in the plan's memory.
    EXPECT_NE(units[0].output_offset, units[1].output_offset);
    EXPECT_EQ(units[2].output_offset, units[1].output_offset);
    EXPECT_EQ(units[3].output_offset, units[1].output_offset);
    if (mode == Mode::kInference) {
      EXPECT_EQ(plan->arena_bytes(), 3 * value);
    }
  }
  PlanOptions options = training();
  options.reference = true;
  const auto plan = plan_of(nodes, options, {64, 1, 1});
  EXPECT_NE(plan->units()[2].output_offset, plan->units()[1].output_offset);
}

TEST(Plan, AViewAtTheEndStaysUntilItIsRead) {
  PlanOptions options = training();
  const auto plan = plan_of({toy_node("a", "Scale", {"input"}), toy_node("v", "View", {"a"})}, options);
  const Unit& unit = plan->units()[0];
  EXPECT_EQ(plan->units()[1].output_offset, unit.output_offset);
}

TEST(Plan, InitialVariablesDependOnNamesOnly) {
  const Node a = toy_node("a", "Scale", {"input"});
  const Node b = toy_node("b", "Scale", {"input"});
  const Node sum = toy_node("s", "Sum", {"a", "b"});
  const VariableStore first = plan_of({a, b, sum}, training())->initial_variables(3);
  const VariableStore second = plan_of({b, a, sum}, training(1))->initial_variables(3);
  const VariableStore other = plan_of({a, b, sum}, training())->initial_variables(4);
  const auto same = [](const Tensor* x, const Tensor* y) {
    return x->shape() == y->shape() && std::equal(x->data(), x->data() + x->size(), y->data());
  };
  ASSERT_EQ(first.size(), 4U);
  for (const auto& [name, tensor] : first.tensors()) {
    ASSERT_NE(second.find(name), nullptr);
    EXPECT_TRUE(same(&tensor, second.find(name)));
  }
  EXPECT_FALSE(same(first.find("a/factor"), other.find("a/factor")));
  EXPECT_FALSE(same(first.find("a/factor"), first.find("b/factor")));
  EXPECT_EQ(first.find("a/shift")->data()[0], 0.0F);
}

TEST(Plan, CheckVariablesListsTheFirstMismatches) {
  const auto plan = plan_of(
      {toy_node("a", "Scale", {"input"}), toy_node("b", "Scale", {"a"}), toy_node("c", "Scale", {"b"})},
      training());
  VariableStore store = plan->initial_variables(1);
  EXPECT_TRUE(plan->check_variables(store).ok());
  ASSERT_TRUE(store.add("a/factor/momentum", Tensor(Shape{6})).ok());
  EXPECT_TRUE(plan->check_variables(store).ok()) << "slots are no business of the plan";

  VariableStore wrong;
  ASSERT_TRUE(wrong.add("a/factor", Tensor(Shape{6})).ok());
  ASSERT_TRUE(wrong.add("a/shift", Tensor(Shape{2, 3})).ok());
  const Status status = plan->check_variables(wrong);
  EXPECT_EQ(status.code(), StatusCode::kBadData);
  EXPECT_EQ(status.message(),
            "the variables are those of another network: a/shift is [2, 3], expected [6]; b/factor [6] is "
            "missing; b/shift [6] is missing; and 2 more");
}

}  // namespace
}  // namespace nacre
