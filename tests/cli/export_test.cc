#include <filesystem>

#include "serialize/bundle_file.h"
#include "tests/cli/run_fixture.h"

namespace nacre {
namespace {

namespace fs = std::filesystem;

using testing::HasSubstr;
using testing::Not;

using ExportTest = RunTest;

TEST_F(ExportTest, WritesABundleThatVerifies) {
  ASSERT_EQ(train("run").code, 0);
  const Outcome outcome = nacre({"export", "run", "--out", "out/model.nacre"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("nacre predict out/model.nacre"));
  const Outcome verified = nacre({"verify", "out/model.nacre"});
  EXPECT_EQ(verified.code, 0) << verified.err;

  const Result<Bundle> bundle = read_bundle(path("out/model.nacre"));
  ASSERT_TRUE(bundle.ok()) << bundle.status().message();
  EXPECT_EQ(bundle->name, "tiny");
  EXPECT_EQ(bundle->contract.labels, (std::vector<std::string>{"0", "1", "2"}));
  EXPECT_EQ(bundle->graph.output().op, "Softmax");
  for (const Node& node : bundle->graph.nodes()) EXPECT_NE(node.op, "Dropout");
  EXPECT_EQ(bundle->variables.size(), 4U);
  ASSERT_EQ(bundle->signatures.size(), 1U);
  const Signature expected{"serving_default",
                           "tensorflow/serving/predict",
                           {{"image", "string", {-1}}},
                           {{"prediction", "float32", {-1, 3}}}};
  EXPECT_EQ(bundle->signatures[0], expected);
  EXPECT_GE(bundle->golden.size(), 5U);
  for (const GoldenVector& golden : bundle->golden) EXPECT_EQ(golden.prediction.size(), 3U);
  for (const char* key : {"recipe", "data_digest", "step", "epoch", "metrics", "nacre_version"}) {
    EXPECT_TRUE(bundle->provenance.contains(key)) << key;
  }
  const auto recipe = nlohmann::json::parse(bundle->provenance.at("recipe"));
  EXPECT_EQ(recipe.at("batch-size"), 10);
  // No path of the machine that trained it travels along.
  for (const auto& [key, value] : bundle->provenance) EXPECT_THAT(value, Not(HasSubstr(folder_))) << key;
}

TEST_F(ExportTest, WhatComesNextIsQuotedForAShell) {
  ASSERT_EQ(train("run", {"--steps", "1"}).code, 0);
  EXPECT_THAT(nacre({"export", "run", "--out", "my model.nacre"}).out,
              HasSubstr("Next: nacre verify 'my model.nacre'\n      nacre predict 'my model.nacre' IMAGE"));
}

TEST_F(ExportTest, TwiceGivesEqualBytes) {
  ASSERT_EQ(train("run").code, 0);
  ASSERT_EQ(nacre({"export", "run", "--out", "a.nacre", "--threads", "1"}).code, 0);
  ASSERT_EQ(nacre({"export", "run/checkpoints/best", "--out", "b.nacre", "--threads", "2"}).code, 0);
  EXPECT_EQ(read("a.nacre"), read("b.nacre"));
  EXPECT_FALSE(read("a.nacre").empty());
}

TEST_F(ExportTest, AnExistingFileIsRefused) {
  ASSERT_EQ(train("run").code, 0);
  write("model.nacre", "mine");
  const Outcome outcome = nacre({"export", "run", "--out", "model.nacre"});
  EXPECT_EQ(outcome.code, 5);
  EXPECT_EQ(outcome.err, "nacre: model.nacre: exists already (--overwrite replaces it)\n");
  EXPECT_EQ(read("model.nacre"), "mine");
  EXPECT_EQ(nacre({"export", "run", "--out", "model.nacre", "--overwrite"}).code, 0);
  EXPECT_EQ(nacre({"verify", "model.nacre"}).code, 0);
}

TEST_F(ExportTest, WhatIsNoCheckpointIsRefused) {
  ASSERT_EQ(train("run").code, 0);
  ASSERT_EQ(nacre({"export", "run", "--out", "model.nacre"}).code, 0);
  const Outcome again = nacre({"export", "model.nacre", "--out", "again.nacre"});
  EXPECT_EQ(again.code, 6);
  EXPECT_THAT(again.err, HasSubstr("is a bundle already"));
  EXPECT_EQ(nacre({"export", "idx", "--out", "again.nacre"}).code, 3);
  EXPECT_FALSE(exists("again.nacre"));
}

TEST_F(ExportTest, ACheckpointOfAnotherNetworkListsTheMismatches) {
  ASSERT_EQ(train("run").code, 0);
  write_model("other.json", "{}", 5);
  const Outcome outcome = nacre({"export", "run", "--model", "other.json", "--out", "model.nacre"});
  EXPECT_EQ(outcome.code, 3) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("conv1/kernel"));
  EXPECT_FALSE(exists("model.nacre"));
}

}  // namespace
}  // namespace nacre
