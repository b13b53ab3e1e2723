#include "cli/eval_report.h"

#include "serialize/checkpoint_file.h"
#include "tests/cli/run_fixture.h"

namespace nacre {
namespace {

using testing::HasSubstr;

/// 4 images of class a (3 known, 1 taken for b), 2 of b (both known), none of c.
Evaluation small_evaluation() {
  Evaluation evaluation;
  evaluation.loss = 0.5;
  evaluation.correct = 5;
  evaluation.count = 6;
  evaluation.confusion = Confusion(3);
  evaluation.confusion.add(0, 0, 3);
  evaluation.confusion.add(0, 1);
  evaluation.confusion.add(1, 1, 2);
  return evaluation;
}

TEST(EvalReport, Json) {
  const auto json = nlohmann::json::parse(eval_json(small_evaluation(), {"a", "b", "c"}));
  EXPECT_DOUBLE_EQ(json.at("accuracy"), 5.0 / 6.0);
  EXPECT_EQ(json.at("loss"), 0.5);
  EXPECT_EQ(json.at("count"), 6);
  EXPECT_EQ(json.at("confusion"), nlohmann::json::parse("[[3,1,0],[0,2,0],[0,0,0]]"));
  const auto& b = json.at("per_class").at(1);
  EXPECT_EQ(b.at("label"), "b");
  EXPECT_EQ(b.at("count"), 2);
  EXPECT_DOUBLE_EQ(b.at("precision"), 2.0 / 3.0);
  EXPECT_EQ(b.at("recall"), 1.0);
  EXPECT_DOUBLE_EQ(b.at("f1"), 0.8);
  EXPECT_TRUE(json.at("per_class").at(2).at("precision").is_null());
  EXPECT_TRUE(json.at("per_class").at(2).at("recall").is_null());
}

TEST(EvalReport, Text) {
  const std::string text = eval_text(small_evaluation(), {"a", "b", "c"});
  EXPECT_THAT(text, HasSubstr("Accuracy 83.33% (5 of 6 images), loss 0.5000"));
  EXPECT_THAT(text, HasSubstr("66.7%"));
  EXPECT_THAT(text, HasSubstr("Confusion matrix"));
}

TEST(EvalReport, ManyClassesGetTheirWorstPairs) {
  Evaluation evaluation;
  evaluation.count = 30;
  evaluation.correct = 28;
  evaluation.confusion = Confusion(30);
  evaluation.confusion.add(3, 7, 2);
  std::vector<std::string> labels;
  for (int i = 0; i < 30; ++i) labels.push_back("class" + std::to_string(i));
  const std::string text = eval_text(evaluation, labels);
  EXPECT_THAT(text, HasSubstr("Most confused"));
  EXPECT_THAT(text, testing::ContainsRegex("class3 +class7 +2"));
}

TEST(EvalReport, ThousandsOfClassesGetNoMatrix) {
  constexpr int kClasses = 10000;
  Evaluation evaluation;
  evaluation.count = 3;
  evaluation.correct = 1;
  evaluation.confusion = Confusion(kClasses);
  evaluation.confusion.add(9000, 9000);
  evaluation.confusion.add(3, 7, 2);
  std::vector<std::string> labels;
  for (int i = 0; i < kClasses; ++i) labels.push_back(std::to_string(i));
  const std::string text = eval_json(evaluation, labels);
  EXPECT_LT(text.size(), size_t{2} << 20);  // of per_class
  const auto json = nlohmann::json::parse(text);
  EXPECT_TRUE(json.at("confusion").is_null());
  EXPECT_EQ(json.at("confusion_cells"), nlohmann::json::parse("[[3,7,2],[9000,9000,1]]"));
  EXPECT_EQ(json.at("per_class").at(9000).at("recall"), 1.0);
  EXPECT_EQ(json.at("per_class").at(3).at("recall"), 0.0);
}

using EvalTest = RunTest;

TEST_F(EvalTest, BundleCheckpointAndRunAgree) {
  ASSERT_EQ(train("run").code, 0);
  ASSERT_EQ(nacre({"export", "run", "--out", "model.nacre"}).code, 0);
  const Outcome bundle = nacre({"eval", "model.nacre", "--data", "idx", "--json"});
  ASSERT_EQ(bundle.code, 0) << bundle.err;
  const auto json = nlohmann::json::parse(bundle.out);
  EXPECT_EQ(json.at("count"), 30);  // the t10k-* files
  double best = 0;
  for (const auto& line : metrics("run")) best = std::max(best, line.value("validation_accuracy", 0.0));
  EXPECT_EQ(json.at("accuracy"), best);
  const auto state = nlohmann::json::parse(nacre({"inspect", "run", "--json"}).out).at("state");
  // Of the same logits.
  const auto at_best = metrics("run").at(state.at("step").get<size_t>() - 1);
  EXPECT_NEAR(json.at("loss").get<double>(), at_best.at("validation_loss").get<double>(), 1e-9);
  EXPECT_EQ(nacre({"eval", "run", "--data", "idx", "--json"}).out, bundle.out);
  EXPECT_EQ(nacre({"eval", "run/checkpoints/best", "--data", "idx", "--json", "--threads", "3"}).out,
            bundle.out);
  EXPECT_EQ(nacre({"eval", "run", "--data", "idx", "--json", "--batch-size", "7"}).code, 0);
  // For reading, it says first what was measured.
  const std::string of_run = nacre({"eval", "run", "--data", "idx"}).out;
  const std::string step = state.at("step").dump();
  EXPECT_THAT(of_run, testing::StartsWith("Measured run/checkpoints/best (checkpoint, step " + step +
                                          ") on 30 images of idx.\nAccuracy "));
  EXPECT_THAT(of_run, HasSubstr("of 30 images"));
  EXPECT_THAT(nacre({"eval", "model.nacre", "--data", "idx"}).out,
              testing::StartsWith("Measured model.nacre (bundle, step " + step + ") on 30 images of idx.\n"));
}

TEST_F(EvalTest, CsvOfImagesWithTheModelsClasses) {
  write_csv("faces");
  write_colour_model("colour.json");
  ASSERT_EQ(nacre({"train", "--model", "colour.json", "--data", "faces/list.csv", "--out", "run", "--epochs",
                   "20", "--learning-rate", "0.01"})
                .code,
            0);
  const Outcome outcome = nacre({"eval", "run", "--data", "faces/list.csv", "--json"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(nlohmann::json::parse(outcome.out).at("accuracy"), 1.0);
  write("faces/other.csv", "faces00.png,stranger,0\n");
  const Outcome stranger = nacre({"eval", "run", "--data", "faces/other.csv"});
  EXPECT_EQ(stranger.code, 3);
  EXPECT_THAT(stranger.err, HasSubstr("faces/other.csv:1: "));
}

TEST_F(EvalTest, ALargeLossIsNotCutOff) {
  ASSERT_EQ(train("run").code, 0);
  auto checkpoint = read_checkpoint(path("run/checkpoints/best"));
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
  checkpoint->variables = checkpoint->variables.clone();
  Tensor* kernel = checkpoint->variables.find("out/kernel");
  for (int64_t i = 0; i < kernel->size(); ++i) kernel->data()[i] *= -1e5F;
  ASSERT_TRUE(write_checkpoint(path("far.ckpt"), *checkpoint, /*overwrite=*/false).ok());
  const Outcome far = nacre({"eval", "far.ckpt", "--data", "idx", "--model", "tiny.json", "--json"});
  ASSERT_EQ(far.code, 0) << far.err;
  // Probabilities that underflow would give 87.3 an image at most.
  EXPECT_GT(nlohmann::json::parse(far.out).at("loss"), 1000.0);
}

TEST_F(EvalTest, BadUseIsNamed) {
  ASSERT_EQ(train("run").code, 0);
  EXPECT_EQ(nacre({"eval", "run"}).code, 2);
  expect_one_line(nacre({"eval", "run", "--data", "idx", "--skip-bad", "-1"}), 2,
                  "Value -1 not in range 0 to 1099511627776");
  EXPECT_EQ(nacre({"eval", "run", "--data", "nosuch"}).code, 5);
  EXPECT_EQ(nacre({"eval", "run", "--data", "run"}).code, 3);
}

}  // namespace
}  // namespace nacre
