#include "train/evaluate.h"

#include <cmath>

#include "tests/train/train_fixture.h"

namespace nacre {
namespace {

using testing::ElementsAre;
using testing::Pair;

Graph linear(bool softmax) {
  std::vector<Node> nodes{layer("flat", "Flatten", "input"),
                          layer("logits", "Dense", "flat", {{"units", int64_t{4}}})};
  if (softmax) nodes.push_back(layer("prediction", "Softmax", "logits"));
  return graph_of(std::move(nodes));
}

Result<Evaluation> run(const Graph& graph, const std::shared_ptr<const Dataset>& data, int64_t batch,
                       int threads, bool probabilities, float factor = 1.0F) {
  PlanOptions options;
  options.batch = batch;
  NACRE_ASSIGN_OR_RETURN(const Plan plan, Plan::make(graph, layers(), Shape{4, 4, 1}, options));
  VariableStore variables = plan.initial_variables(1);
  // Class j's logit is the brightness of row j of the picture, the class's own stripe.
  Tensor* kernel = variables.find("logits/kernel");
  if (kernel != nullptr) {
    for (int64_t i = 0; i < kernel->size(); ++i) kernel->data()[i] = i / 4 / 4 == i % 4 ? factor : 0.0F;
  }
  Executor executor(plan);
  NACRE_RETURN_IF_ERROR(executor.bind(variables));
  return evaluate(executor, plan, data, threads, probabilities);
}

TEST(Evaluate, CountsAndConfusion) {
  const auto data = striped_pictures(23, 4);
  const auto right = run(linear(false), data, 5, 1, false);
  ASSERT_TRUE(right.ok()) << right.status().message();
  EXPECT_EQ(right->count, 23);
  EXPECT_EQ(right->correct, 23);
  EXPECT_EQ(right->accuracy(), 1.0);
  EXPECT_EQ(right->confusion.classes(), 4U);
  EXPECT_THAT(right->confusion.cells(), ElementsAre(Pair(Pair(0, 0), 6), Pair(Pair(1, 1), 6),
                                                    Pair(Pair(2, 2), 6), Pair(Pair(3, 3), 5)));
  // All logits equal: the first class is said, at a loss of log 4.
  const auto blind = run(linear(false), data, 5, 1, false, 0.0F);
  EXPECT_EQ(blind->correct, 6);
  EXPECT_NEAR(blind->loss, std::log(4.0), 1e-12);
  EXPECT_EQ(blind->confusion.at(3, 0), 5);
  EXPECT_EQ(blind->confusion.at(0, 3), 0);
}

TEST(Evaluate, TheLossIsTheMeanOverImagesWhateverTheBatch) {
  const auto data = striped_pictures(23, 4);
  const double expected = run(linear(false), data, 23, 1, false)->loss;
  for (const int64_t batch : {1, 5, 22, 100}) {
    EXPECT_NEAR(run(linear(false), data, batch, 1, false)->loss, expected, 1e-9) << batch;
  }
}

TEST(Evaluate, ThreadsDoNotChangeBits) {
  const auto data = striped_pictures(23, 4);
  const double expected = run(linear(false), data, 5, 1, false)->loss;
  // More threads than the plan has memory for are not used.
  for (const int threads : {2, 3}) EXPECT_EQ(run(linear(false), data, 5, threads, false)->loss, expected);
}

TEST(Evaluate, ProbabilitiesGiveTheSameAsLogits) {
  const auto data = striped_pictures(23, 4);
  const auto logits = run(linear(false), data, 5, 1, false);
  const auto probabilities = run(linear(true), data, 5, 1, true);
  ASSERT_TRUE(probabilities.ok()) << probabilities.status().message();
  EXPECT_NEAR(probabilities->loss, logits->loss, 1e-6);
  EXPECT_EQ(probabilities->confusion, logits->confusion);
  // Probabilities that underflow to 0 give a finite loss.
  const auto wrong = run(linear(true), data, 5, 1, true, -1000.0F);
  EXPECT_TRUE(std::isfinite(wrong->loss));
  EXPECT_GT(wrong->loss, 50.0);
}

TEST(Evaluate, AnotherNumberOfClassesIsRefused) {
  const Status status = run(linear(false), striped_pictures(6, 3), 5, 1, false).status();
  EXPECT_EQ(status.code(), StatusCode::kBadData);
  EXPECT_EQ(status.message(), "the data has 3 classes, but the model tells 4 apart");
}

TEST(Evaluate, ImagesOfAnotherSizeAreRefused) {
  InputContract contract;
  contract.height = 2;
  contract.width = 2;
  contract.channels = 1;
  const auto data =
      Dataset::from_pixels(std::vector<uint8_t>(16), 2, 2, 1, {0, 1, 2, 3}, {"a", "b", "c", "d"}, contract);
  ASSERT_TRUE(data.ok()) << data.status().message();
  const Status status = run(linear(false), *data, 5, 1, false).status();
  EXPECT_EQ(status.code(), StatusCode::kBadData);
  EXPECT_EQ(status.message(), "the data's images have 4 numbers, but the model takes 16");
}

TEST(Evaluate, AnOutputThatIsNoListOfClassesIsRefused) {
  // [N, 4, 4, 1]: as many numbers as classes, but not [N, classes].
  const auto data = striped_pictures(32, 16);
  const Status status = run(graph_of({layer("r", "ReLU", "input")}), data, 5, 1, false).status();
  EXPECT_EQ(status.code(), StatusCode::kBadData);
  EXPECT_NE(status.message().find("expected [N, 16]"), std::string::npos) << status.message();
}

}  // namespace
}  // namespace nacre
