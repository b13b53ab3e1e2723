#include <gmock/gmock.h>

#include <algorithm>

#include "layer_runner.h"
#include "layer_test.h"

namespace nacre {
namespace {

LayerCase layer(double rate, const Shape& shape) {
  return {"Dropout", {{{"rate", rate}}}, {shape}, shape};
}

INSTANTIATE_TEST_SUITE_P(Dropout, LayerTest,
                         ::testing::Values(layer(0.5, {1, 1}), layer(0.25, {2, 5, 7, 3}), layer(0.0, {5, 13}),
                                           layer(0.9, {5, 1001}),
                                           LayerCase{"Dropout", {AttrMap{}}, {Shape{2, 3}}, Shape{2, 3}}));

INSTANTIATE_TEST_SUITE_P(Dropout, RefusalTest,
                         ::testing::Values(RefusalCase{layer(1.0, {2, 3}), "rate"},
                                           RefusalCase{layer(-0.1, {2, 3}), "rate"},
                                           RefusalCase{layer(0.5, {2, 0}), "empty"},
                                           RefusalCase{{"Dropout", {{{"p", 0.5}}}, {Shape{2, 3}}, {}}, "p"}));

std::vector<float> drop(double rate, int64_t size, const std::function<void(StepContext&)>& change,
                        std::string_view node = "node") {
  const AttrMap attributes{{"rate", rate}};
  const AttrMap* pointer = &attributes;
  const Shape shape{1, size};
  OperatorRequest request;
  request.node_name = node;
  request.attributes = {&pointer, 1};
  request.inputs = {&shape, 1};
  request.mode = Mode::kTraining;
  const auto op = std::move(find_builtin("Dropout").create(request)).value();
  LayerRunner<float> run(*op, {shape}, 1, 1);
  std::fill_n(run.inputs[0].data(), size, 1.0F);
  change(run.context);
  run.forward(false);
  return {run.output.data(), run.output.data() + size};
}

TEST(DropoutValues, DropsTheShareAndScalesTheRest) {
  const auto y = drop(0.25, 100000, [](StepContext&) {});
  const auto dropped = std::ranges::count(y, 0.0F);
  const auto kept = std::ranges::count(y, 1.0F / 0.75F);
  EXPECT_EQ(dropped + kept, 100000);
  EXPECT_NEAR(static_cast<double>(dropped), 25000, 550);  // four deviations
}

TEST(DropoutValues, DrawsDependOnSeedEpochSampleAndNode) {
  const auto base = drop(0.5, 256, [](StepContext&) {});
  EXPECT_EQ(base, drop(0.5, 256, [](StepContext&) {}));
  EXPECT_NE(base, drop(0.5, 256, [](StepContext& context) { ++context.seed; }));
  EXPECT_NE(base, drop(0.5, 256, [](StepContext& context) { ++context.epoch; }));
  static constexpr int64_t kOther = 1000;
  EXPECT_NE(base, drop(0.5, 256, [](StepContext& context) { context.samples = {&kOther, 1}; }));
  EXPECT_NE(base, drop(
                      0.5, 256, [](StepContext&) {}, "other"));
}

}  // namespace
}  // namespace nacre
