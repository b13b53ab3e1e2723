#include <filesystem>
#include <limits>
#include <sstream>

#include "serialize/checkpoint_file.h"
#include "tests/cli/run_fixture.h"

namespace nacre {
namespace {

namespace fs = std::filesystem;

using testing::HasSubstr;

/// Starts from a bundle of a network trained on images of a CSV.
class PredictTest : public RunTest {
 protected:
  void SetUp() override {
    RunTest::SetUp();
    ASSERT_NO_FATAL_FAILURE(export_colour_model());
  }
  static std::vector<nlohmann::json> lines_of(const std::string& text) {
    std::vector<nlohmann::json> lines;
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);) lines.push_back(nlohmann::json::parse(line));
    return lines;
  }
};

TEST_F(PredictTest, TellsTheClass) {
  const Outcome outcome = nacre({"predict", "model.nacre", "faces/faces00.png", "faces/faces03.jpg"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("faces/faces00.png: upper "));
  EXPECT_THAT(outcome.out, HasSubstr("faces/faces03.jpg: lower "));
}

TEST_F(PredictTest, JsonHasItsKeys) {
  const Outcome outcome = nacre({"predict", "model.nacre", "faces/faces01.png", "--json", "--top-k", "2"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const auto lines = lines_of(outcome.out);
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_EQ(lines[0].at("file"), "faces/faces01.png");
  EXPECT_EQ(lines[0].at("label"), "lower");
  EXPECT_EQ(lines[0].at("index"), 1);
  ASSERT_EQ(lines[0].at("prediction").size(), 2U);
  EXPECT_EQ(lines[0].at("probability"), lines[0].at("prediction")[1]);
  EXPECT_EQ(lines[0].at("top")[1].at("label"), "upper");
}

TEST_F(PredictTest, ASinglePredictionEqualsTheSameImageInABatch) {
  const Outcome batch =
      nacre({"predict", "model.nacre", "faces", "--json", "--batch-size", "5", "--threads", "3"});
  ASSERT_EQ(batch.code, 0) << batch.err;
  const auto lines = lines_of(batch.out);
  ASSERT_EQ(lines.size(), 12U);
  for (const auto& line : lines) {
    const Outcome single = nacre({"predict", "model.nacre", line.at("file"), "--json", "--threads", "1"});
    ASSERT_EQ(single.code, 0) << single.err;
    EXPECT_EQ(nlohmann::json::parse(single.out), line);
  }
}

TEST_F(PredictTest, FoldersAreSortedAndPathsReadFromStdin) {
  write("faces/readme.txt", "not an image");
  const auto lines = lines_of(nacre({"predict", "model.nacre", "faces", "--json", "--batch-size", "5"}).out);
  ASSERT_EQ(lines.size(), 12U);
  for (size_t i = 1; i < lines.size(); ++i) {
    EXPECT_LT(lines[i - 1].at("file").get<std::string>(), lines[i].at("file").get<std::string>());
  }
  const Outcome outcome =
      nacre({"predict", "model.nacre", "-", "--json"}, "faces/faces07.jpg\r\n\nfaces/faces02.jpg");
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  const auto from_stdin = lines_of(outcome.out);
  ASSERT_EQ(from_stdin.size(), 2U);
  EXPECT_EQ(from_stdin[0], lines[7]);
  EXPECT_EQ(from_stdin[1], lines[2]);
}

TEST_F(PredictTest, ANameInBracketsIsNoList) {
  fs::copy(path("faces/faces00.png"), path("[z]"));
  fs::copy(path("faces/faces00.png"), path("[a,b]"));
  write("z", "another file");
  const auto lines =
      lines_of(nacre({"predict", "model.nacre", "[z]", "faces/faces00.png", "--json", "[a,b]"}).out);
  ASSERT_EQ(lines.size(), 3U);
  EXPECT_EQ(lines[0].at("file"), "./[z]");
  EXPECT_EQ(lines[0].at("prediction"), lines[1].at("prediction"));
  EXPECT_EQ(lines[2].at("file"), "./[a,b]");
  EXPECT_EQ(lines[2].at("prediction"), lines[1].at("prediction"));
}

TEST_F(PredictTest, BadImagesAreReportedAndTheRestGoesOn) {
  write("bad.jpg", "GIF89a and more");
  const Outcome outcome = nacre({"predict", "model.nacre", "faces/faces00.png", "bad.jpg", "missing.png",
                                 "faces/faces03.jpg", "--json"});
  EXPECT_EQ(outcome.code, 3);
  EXPECT_THAT(outcome.err, HasSubstr("nacre: bad.jpg: "));
  EXPECT_THAT(outcome.err, HasSubstr("nacre: missing.png: "));
  EXPECT_THAT(outcome.err, HasSubstr("2 of 4 images"));
  const auto lines = lines_of(outcome.out);
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_EQ(lines[1].at("file"), "faces/faces03.jpg");
  EXPECT_EQ(nacre({"predict", "model.nacre", "bad.jpg"}).code, 3);
  EXPECT_EQ(nacre({"predict", "model.nacre", "missing.png"}).code, 5);
}

TEST_F(PredictTest, ARunFolderAndACheckpointGiveTheSame) {
  const std::string bundle = nacre({"predict", "model.nacre", "faces", "--json"}).out;
  EXPECT_EQ(nacre({"predict", "run", "faces", "--json"}).out, bundle);
  EXPECT_EQ(nacre({"predict", "run/checkpoints/latest", "faces", "--json"}).out, bundle);
  fs::copy(path("run/checkpoints/latest"), path("lone.ckpt"));
  EXPECT_EQ(nacre({"predict", "lone.ckpt", "faces", "--json", "--model", "colour.json"}).out, bundle);
  const Outcome lone = nacre({"predict", "lone.ckpt", "faces"});
  EXPECT_NE(lone.code, 0);
  EXPECT_THAT(lone.err, HasSubstr("--model"));
}

TEST_F(PredictTest, ANetworkThatIsNotFiniteAnswersNothing) {
  auto checkpoint = read_checkpoint(path("run/checkpoints/latest"));
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
  checkpoint->variables = checkpoint->variables.clone();
  checkpoint->variables.find("out/bias")->data()[1] = std::numeric_limits<float>::quiet_NaN();
  ASSERT_TRUE(write_checkpoint(path("nan.ckpt"), *checkpoint, /*overwrite=*/false).ok());
  const std::string reason = "faces/faces00.png: the network's answer is not finite";
  for (const std::string form : {"--json", "--top-k=2"}) {
    const Outcome one = nacre({"predict", "nan.ckpt", "faces/faces00.png", "--model", "colour.json", form});
    expect_one_line(one, 8, reason);
    EXPECT_EQ(one.out, "");
  }
  const Outcome more = nacre({"predict", "nan.ckpt", "faces", "missing.png", "--model", "colour.json"});
  EXPECT_EQ(more.code, 8);
  EXPECT_EQ(more.out, "");
  EXPECT_THAT(more.err, HasSubstr("nacre: predict: 13 of 13 images could not be classified\n"));
  for (const std::vector<std::string>& form : {std::vector<std::string>{}, {"--json"}}) {
    std::vector<std::string> arguments{"eval",           "nan.ckpt", "--data",
                                       "faces/list.csv", "--model",  "colour.json"};
    arguments.insert(arguments.end(), form.begin(), form.end());
    const Outcome evaluated = nacre(arguments);
    expect_one_line(evaluated, 8,
                    "nacre: nan.ckpt: the network's scores for faces/faces00.png are not finite");
    EXPECT_EQ(evaluated.out, "");
  }
}

TEST_F(PredictTest, BadUseIsNamed) {
  EXPECT_EQ(nacre({"predict", "model.nacre"}).code, 2);
  EXPECT_EQ(nacre({"predict", "model.nacre", "faces", "--top-k", "0"}).code, 2);
  EXPECT_EQ(nacre({"predict", "nosuch.nacre", "faces"}).code, 5);
}

}  // namespace
}  // namespace nacre
