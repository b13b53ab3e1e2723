// nacre convert --to saved_model, as users run it.
#include <gmock/gmock.h>

#include <filesystem>

#include "tests/cli/run_fixture.h"

namespace nacre {
namespace {

namespace fs = std::filesystem;

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class ConvertSavedModelTest : public RunTest {
 protected:
  void SetUp() override {
    RunTest::SetUp();
    ASSERT_EQ(train("run").code, 0);
    ASSERT_EQ(nacre({"export", "run", "--out", "model.nacre"}).code, 0);
  }

  [[nodiscard]] Outcome convert(const std::string& in, const std::string& out,
                                const std::vector<std::string>& more = {}) const {
    std::vector<std::string> arguments{"convert", in, "--to", "saved_model", "--out", out};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return nacre(arguments);
  }
  /// The names in it below FOLDER, sorted.
  [[nodiscard]] std::vector<std::string> names(const std::string& folder) const {
    std::vector<std::string> list;
    for (const auto& entry : fs::directory_iterator(path(folder))) {
      list.push_back(entry.path().filename().string());
    }
    std::ranges::sort(list);
    return list;
  }
};

TEST_F(ConvertSavedModelTest, WritesASavedModelOfABundle) {
  const Outcome outcome = convert("model.nacre", "models/tiny/1/");
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(names("models/tiny"), std::vector<std::string>{"1"});
  EXPECT_EQ(names("models/tiny/1"),
            (std::vector<std::string>{"assets", "assets.extra", "saved_model.pb", "variables"}));
  EXPECT_EQ(names("models/tiny/1/variables"),
            (std::vector<std::string>{"variables.data-00000-of-00001", "variables.index"}));
  EXPECT_EQ(read("models/tiny/1/assets/labels.txt"), "0\n1\n2\n");
  EXPECT_THAT(
      outcome.out,
      AllOf(HasSubstr("Wrote models/tiny/1: tiny, 3 classes, 4 variables"),
            HasSubstr("  serving_default: image string [-1] -> prediction float32 [-1, 3]\n"),
            HasSubstr("  float_image: image float32 [-1, 8, 8, 1] -> prediction float32 [-1, 3]\n"),
            HasSubstr("  classify: inputs string [-1] -> classes string [-1, 3], scores float32 [-1, 3]\n"),
            HasSubstr("saved_model_cli show --dir models/tiny/1 --all")));
  EXPECT_EQ(outcome.err, "");
}

TEST_F(ConvertSavedModelTest, ARunStandsForItsLatestCheckpoint) {
  const Outcome of_run = convert("run", "a", {"--threads", "1"});
  ASSERT_EQ(of_run.code, 0) << of_run.err;
  EXPECT_THAT(of_run.out, HasSubstr("tiny at step "));
  ASSERT_EQ(convert("run/checkpoints/latest", "b", {"--threads", "2"}).code, 0);
  ASSERT_EQ(nacre({"export", "run/checkpoints/latest", "--out", "latest.nacre"}).code, 0);
  ASSERT_EQ(convert("latest.nacre", "c").code, 0);
  for (const char* file :
       {"saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001",
        "assets/labels.txt", "assets.extra/tf_serving_warmup_requests", "assets.extra/nacre.json"}) {
    const std::string bytes = read(std::string("a/") + file);
    EXPECT_FALSE(bytes.empty()) << file;
    EXPECT_EQ(read(std::string("b/") + file), bytes) << file;
    EXPECT_EQ(read(std::string("c/") + file), bytes) << file;
  }
}

TEST_F(ConvertSavedModelTest, FloatsCanBeTheDefault) {
  const Outcome outcome = convert("model.nacre", "out", {"--default-signature", "float"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out,
              HasSubstr("  serving_default: image float32 [-1, 8, 8, 1] -> prediction float32 [-1, 3]\n"));
  ASSERT_EQ(convert("model.nacre", "image", {"--default-signature=image"}).code, 0);
  ASSERT_EQ(convert("model.nacre", "plain").code, 0);
  EXPECT_EQ(read("image/saved_model.pb"), read("plain/saved_model.pb"));
  EXPECT_NE(read("image/saved_model.pb"), read("out/saved_model.pb"));
}

TEST_F(ConvertSavedModelTest, TheReferenceFormSaysThatItDecodesAnotherWay) {
  const Outcome outcome = convert("model.nacre", "out", {"--compat", "reference"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out,
              AllOf(HasSubstr("  serving_default: image string [-1] -> prediction float32 [1, 3]\n"),
                    HasSubstr("TensorFlow's default"), Not(HasSubstr("classify"))));
}

TEST_F(ConvertSavedModelTest, OptionsThatMeanNothingAreRefused) {
  const auto expect_usage = [&](const std::vector<std::string>& options, const char* reason) {
    const Outcome outcome = convert("model.nacre", "out", options);
    EXPECT_EQ(outcome.code, 2) << reason;
    EXPECT_THAT(outcome.err, HasSubstr(reason));
    EXPECT_FALSE(exists("out"));
  };
  expect_usage({"--compat", "tf3"}, "--compat tf3: known is reference");
  expect_usage({"--default-signature", "both"}, "known are image, float");
  expect_usage({"--compat", "reference", "--default-signature", "float"},
               "leave --default-signature float out");
  expect_usage({"--labels", "labels.txt"}, "--labels");
  expect_usage({"--map", "map.json"}, "--map");
  expect_usage({"--model", "face96"}, "a bundle brings its own network");
  EXPECT_EQ(nacre({"convert", "model.nacre", "--to", "saved_model"}).code, 2);
  const Outcome other = nacre({"convert", "model.nacre", "--to", "onnx", "--out", "out"});
  EXPECT_EQ(other.code, 2);
  EXPECT_THAT(other.err, HasSubstr("known are saved_model"));
}

TEST_F(ConvertSavedModelTest, AnExistingFolderIsRefused) {
  ASSERT_EQ(convert("model.nacre", "out").code, 0);
  const std::string graph = read("out/saved_model.pb");
  const Outcome again = convert("model.nacre", "out", {"--compat", "reference"});
  EXPECT_EQ(again.code, 5);
  EXPECT_THAT(again.err, HasSubstr("nacre: out: exists already"));
  EXPECT_EQ(read("out/saved_model.pb"), graph);
  EXPECT_EQ(convert("model.nacre", "out", {"--compat", "reference", "--overwrite"}).code, 0);
  EXPECT_NE(read("out/saved_model.pb"), graph);
  // What is no SavedModel is not removed, whatever is asked for.
  write("home/letters.txt", "mine");
  EXPECT_EQ(convert("model.nacre", "home", {"--overwrite"}).code, 5);
  EXPECT_EQ(read("home/letters.txt"), "mine");
  fs::create_directory_symlink("out", path("link"));
  const Outcome link = convert("model.nacre", "link", {"--overwrite"});
  EXPECT_EQ(link.code, 5);
  EXPECT_THAT(link.err, HasSubstr("is a symlink"));
}

TEST_F(ConvertSavedModelTest, WhatIsNoModelIsRefused) {
  EXPECT_EQ(convert("nothing", "out").code, 5);
  write("text.nacre", "no bundle");
  EXPECT_EQ(convert("text.nacre", "out").code, 4);
  EXPECT_FALSE(exists("out"));
}

TEST_F(ConvertSavedModelTest, EXIFTurningIsUnsupported) {
  write_csv("csv");
  write_colour_model("colour.json");
  ASSERT_EQ(nacre({"train", "--model", "colour.json", "--data", "csv/list.csv", "--out", "turned", "--epochs",
                   "1", "--batch-size", "4", "--exif-orient"})
                .code,
            0);
  const Outcome outcome = convert("turned", "out");
  EXPECT_EQ(outcome.code, 6);
  EXPECT_THAT(outcome.err,
              HasSubstr("nacre: out: the input contract: turns images by their EXIF orientation"));
  EXPECT_FALSE(exists("out"));
}

}  // namespace
}  // namespace nacre
