// A run folder that nacre 0.1.0 wrote with checkpoint format 1.1: the tiny model on write_idx's pictures, two
// epochs of six steps. Only the path of the data in its config.json was made relative. It is read and trained
// on for ever; a new format brings a folder of its own beside it.
#include <filesystem>

#include "tests/cli/run_fixture.h"

namespace nacre {
namespace {

namespace fs = std::filesystem;

using Json = nlohmann::json;
using testing::HasSubstr;

/// What `eval` said of its checkpoints on the day.
constexpr double kBestLoss = 0.656248;
constexpr double kLatestLoss = 0.257541;

class OldRunTest : public RunTest {
 protected:
  void SetUp() override {
    RunTest::SetUp();
    fs::copy(NACRE_SOURCE_DIR "/tests/cli/fixtures/v1.1-run", path("run"),
             fs::copy_options::recursive | fs::copy_options::copy_symlinks);
  }
  [[nodiscard]] Json json_of(std::vector<std::string> arguments) const {
    arguments.emplace_back("--json");
    const Outcome outcome = nacre(arguments);
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return Json::parse(outcome.out, nullptr, false);
  }
  void expect_measures(const std::string& file, double loss) const {
    const Json report = json_of({"eval", file, "--data", "idx"});
    EXPECT_EQ(report.at("count"), 30);
    EXPECT_EQ(report.at("accuracy"), 1.0);
    EXPECT_NEAR(report.at("loss").get<double>(), loss, 1e-4);
  }
};

TEST_F(OldRunTest, ItIsReadAndMeasuresWhatItDid) {
  EXPECT_EQ(json_of({"verify", "run"}).at("ok"), true);
  EXPECT_EQ(json_of({"inspect", "run"}).at("state").at("step"), 6);  // its best
  EXPECT_EQ(json_of({"inspect", "run/checkpoints/latest"}).at("state").at("step"), 12);
  expect_measures("run", kBestLoss);
  expect_measures("run/checkpoints/latest", kLatestLoss);
}

TEST_F(OldRunTest, ItIsExported) {
  ASSERT_EQ(nacre({"export", "run", "--out", "model.nacre"}).code, 0);
  EXPECT_EQ(json_of({"verify", "model.nacre"}).at("ok"), true);
  expect_measures("model.nacre", kBestLoss);
}

TEST_F(OldRunTest, ItIsTrainedOn) {
  const Outcome outcome = nacre({"train", "--resume", "--out", "run", "--epochs", "3"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("going on from step 12"));
  const std::vector<Json> lines = metrics("run");
  ASSERT_EQ(lines.size(), 18U);
  EXPECT_EQ(lines.back().at("step"), 18);
  EXPECT_LT(lines.back().at("validation_loss"), kLatestLoss);
}

/// As `convert` wrote tests/runtime/fixtures/v1.nacre with version 1 of nacre.json.
TEST_F(OldRunTest, ASavedModelVerifiesAndPredicts) {
  fs::copy(NACRE_SOURCE_DIR "/tests/cli/fixtures/v1-saved_model", path("saved"), fs::copy_options::recursive);
  EXPECT_EQ(json_of({"verify", "saved"}).at("ok"), true);
  ASSERT_EQ(nacre({"convert", "saved", "--to", "bundle", "--out", "model.nacre"}).code, 0);
  const Json answers =
      json_of({"predict", "model.nacre", NACRE_SOURCE_DIR "/tests/runtime/fixtures/stripes.jpg"});
  const std::string text = answers.dump();
  EXPECT_THAT(text, HasSubstr("vertical"));
  EXPECT_THAT(text, HasSubstr("0.9742"));
}

}  // namespace
}  // namespace nacre
