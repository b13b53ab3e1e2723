// nacre convert SAVED_MODEL --to bundle, and what inspect, diff and verify say of TensorFlow's files.

#include <filesystem>

#include "tests/cli/run_fixture.h"

namespace nacre {
namespace {

using testing::HasSubstr;

class ConvertBundleTest : public RunTest {
 protected:
  void SetUp() override {
    RunTest::SetUp();
    ASSERT_EQ(train("run").code, 0);
    ASSERT_EQ(nacre({"export", "run", "--out", "a.nacre"}).code, 0);
    const Outcome written = nacre({"convert", "a.nacre", "--to", "saved_model", "--out", "models/digits/1"});
    ASSERT_EQ(written.code, 0) << written.err;
  }
  [[nodiscard]] Outcome to_bundle(const std::vector<std::string>& more = {}) const {
    std::vector<std::string> words{"convert", "models/digits/1", "--to", "bundle", "--out", "b.nacre"};
    words.insert(words.end(), more.begin(), more.end());
    return nacre(words);
  }
};

TEST_F(ConvertBundleTest, ABundleComesBackToTheBit) {
  const Outcome outcome = to_bundle();
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("Wrote b.nacre"));
  EXPECT_THAT(outcome.out, HasSubstr("digits of signature encoded_image"));
  EXPECT_TRUE(identical("a.nacre", "b.nacre"));
  EXPECT_TRUE(identical("a.nacre", "models/digits/1"));
  const Outcome verified = nacre({"verify", "b.nacre"});
  EXPECT_EQ(verified.code, 0) << verified.err;
  const auto before = nlohmann::json::parse(nacre({"inspect", "a.nacre", "--json"}).out);
  const auto after = nlohmann::json::parse(nacre({"inspect", "b.nacre", "--json"}).out);
  for (const char* key : {"input", "labels", "variables", "signatures"})
    EXPECT_EQ(after.at(key), before.at(key));
  EXPECT_THAT(after.at("provenance").at("imported_from").dump(), HasSubstr("SavedModel"));
}

TEST_F(ConvertBundleTest, OptionsSayWhatTheGraphDoesNot) {
  write("names.txt", "left\nmiddle\nright\n");
  const Outcome outcome =
      to_bundle({"--signature", "float_image", "--scale", "0.5", "--labels", "names.txt"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const auto inside = nlohmann::json::parse(nacre({"inspect", "b.nacre", "--json"}).out);
  EXPECT_EQ(inside.at("input").at("scale"), 0.5);
  EXPECT_EQ(inside.at("labels"), nlohmann::json({"left", "middle", "right"}));
}

TEST_F(ConvertBundleTest, WrongOptionsAreRefused) {
  EXPECT_EQ(to_bundle({"--scale", "0.5"}).code, 2);  // this signature decodes images
  for (const char* scale : {"-1", "0", "nan"}) {
    EXPECT_EQ(to_bundle({"--scale", scale, "--signature", "float_image"}).code, 2) << scale;
  }
  EXPECT_EQ(to_bundle({"--input-size", "8"}).code, 2);
  EXPECT_EQ(to_bundle({"--input-size", "8x8x3"}).code, 2);
  EXPECT_EQ(to_bundle({"--model", "face96"}).code, 2);
  EXPECT_EQ(to_bundle({"--compat", "reference"}).code, 2);
  const Outcome size = to_bundle({"--input-size", "9x8"});
  EXPECT_EQ(size.code, 3);
  EXPECT_THAT(size.err, HasSubstr("the graph says 8 x 8"));
  const Outcome signature = to_bundle({"--signature", "other"});
  EXPECT_EQ(signature.code, 3);
  EXPECT_THAT(signature.err, HasSubstr("encoded_image"));
  write("names.txt", "one\n");
  EXPECT_EQ(to_bundle({"--labels", "names.txt"}).code, 3);
  EXPECT_FALSE(exists("b.nacre"));
  EXPECT_EQ(nacre({"convert", "a.nacre", "--to", "saved_model", "--out", "x", "--signature", "y"}).code, 2);
}

TEST_F(ConvertBundleTest, WhatIsNoSavedModelIsCalledByItsName) {
  const auto expect = [&](const std::string& in, int code, const std::string& said) {
    expect_one_line(nacre({"convert", in, "--to", "bundle", "--out", "b.nacre"}), code, said);
  };
  const std::string wanted = "; expected the folder of a SavedModel";
  ASSERT_EQ(nacre({"convert", "run", "--to", "tf_checkpoint", "--out", "tf/x"}).code, 0);
  expect("a.nacre", 6, "a.nacre: is a nacre bundle already" + wanted);
  expect("run", 6, "latest: is a nacre checkpoint" + wanted + "; `nacre export` makes a bundle of it");
  expect("tf", 6, "tf/x: is a TensorFlow checkpoint" + wanted + "; `nacre convert --to checkpoint` reads it");
  expect("tiny.json", 6, "tiny.json: is no SavedModel" + wanted);
  expect("models/digits", 3, "models/digits: holds no saved_model.pb" + wanted);
  expect("nothing", 5, "nothing");
  ASSERT_EQ(to_bundle().code, 0);
  expect_one_line(to_bundle(), 5, "b.nacre: exists already (--overwrite replaces it)");
}

TEST_F(ConvertBundleTest, ADamagedSavedModelIsOneLine) {
  const std::string file = "models/digits/1/saved_model.pb";
  const std::string bytes = read(file);
  write(file, bytes + "junk");
  const Outcome outcome = to_bundle();
  EXPECT_EQ(outcome.code, 4);
  EXPECT_EQ(outcome.err.find('\n'), outcome.err.size() - 1) << outcome.err;
  EXPECT_EQ(nacre({"inspect", "models/digits/1"}).code, 4);
  EXPECT_EQ(nacre({"verify", "models/digits/1"}).code, 4);
}

TEST_F(ConvertBundleTest, InspectAndVerifyReadSavedModels) {
  const auto inside = nlohmann::json::parse(nacre({"inspect", "models/digits/1", "--json"}).out);
  EXPECT_EQ(inside.at("kind"), "saved_model");
  EXPECT_EQ(inside.at("layers").size(), 5U);
  EXPECT_EQ(inside.at("variables").size(), 4U);
  EXPECT_EQ(inside.at("labels").size(), 3U);
  EXPECT_EQ(inside.at("signatures").size(), 4U);
  EXPECT_EQ(inside.at("ops").at("Softmax"), 3);
  EXPECT_THAT(nacre({"inspect", "models/digits/1"}).out, HasSubstr("signature encoded_image"));
  const Outcome verified = nacre({"verify", "models/digits/1"});
  EXPECT_EQ(verified.code, 0) << verified.err;
  EXPECT_THAT(verified.out, HasSubstr("golden vectors replayed"));
  const Outcome predicted = nacre({"predict", "models/digits/1", "x.png"});
  EXPECT_EQ(predicted.code, 3);
  EXPECT_THAT(predicted.err, HasSubstr("is a SavedModel"));
}

TEST_F(ConvertBundleTest, VerifyReplaysTheAnswersOfEveryFormOfASavedModel) {
  for (const std::vector<std::string>& form :
       {std::vector<std::string>{}, {"--compat", "reference"}, {"--default-signature", "float"}}) {
    std::vector<std::string> words{"convert", "a.nacre", "--to",       "saved_model",
                                   "--out",   "form",    "--overwrite"};
    words.insert(words.end(), form.begin(), form.end());
    ASSERT_EQ(nacre(words).code, 0);
    const Outcome outcome = nacre({"verify", "form", "--json"});
    ASSERT_EQ(outcome.code, 0) << outcome.err;
    const auto said = nlohmann::json::parse(outcome.out);
    EXPECT_GT(said.at("golden_vectors"), 2);
    EXPECT_EQ(said.at("golden_max_difference"), 0);
  }
}

TEST_F(ConvertBundleTest, VerifyNoticesWeightsOfAnotherModel) {
  // Right in themselves, checksums and all.
  ASSERT_EQ(nacre({"train", "--model", "tiny.json", "--data", "idx", "--out", "other", "--steps", "3",
                   "--seed", "9"})
                .code,
            0);
  ASSERT_EQ(nacre({"convert", "other", "--to", "saved_model", "--out", "other_model"}).code, 0);
  for (const std::string file : {"variables.index", "variables.data-00000-of-00001"}) {
    write("models/digits/1/variables/" + file, read("other_model/variables/" + file));
  }
  const Outcome marked = nacre({"verify", "models/digits/1"});
  EXPECT_EQ(marked.code, 4);
  EXPECT_THAT(marked.err, HasSubstr("models/digits/1/variables/variables."));
  EXPECT_THAT(marked.err, HasSubstr("SHA-256"));
  ASSERT_TRUE(std::filesystem::remove(path("models/digits/1/assets.extra/nacre.json")));
  const Outcome outcome = nacre({"verify", "models/digits/1"});
  EXPECT_EQ(outcome.code, 4);
  EXPECT_THAT(outcome.err, HasSubstr("models/digits/1: golden vector \"record 1\""));
  EXPECT_EQ(to_bundle().code, 4);
  EXPECT_EQ(to_bundle().err, outcome.err);
  EXPECT_FALSE(exists("b.nacre"));
}

TEST_F(ConvertBundleTest, VerifyNoticesEveryFileThatIsNotAsItWasWritten) {
  const std::string folder = "models/digits/1/";
  // Flips that leave the file readable: a constant's value, the names of classes, the mark itself.
  for (const std::string file : {"saved_model.pb", "assets/labels.txt", "assets.extra/nacre.json",
                                 "assets.extra/tf_serving_warmup_requests", "variables/variables.index",
                                 "variables/variables.data-00000-of-00001"}) {
    SCOPED_TRACE(file);
    const std::string bytes = read(folder + file);
    for (size_t at = 0; at < bytes.size(); at += bytes.size() / 7 + 1) {
      std::string damaged = bytes;
      damaged[at] = static_cast<char>(damaged[at] ^ 1);
      write(folder + file, damaged);
      const Outcome outcome = nacre({"verify", folder});
      EXPECT_NE(outcome.code, 0) << at;
      EXPECT_EQ(outcome.err.find('\n'), outcome.err.size() - 1) << outcome.err;
    }
    ASSERT_TRUE(std::filesystem::remove(path(folder + file)));
    // Without the mark it is as another program's; else the file's absence is damage.
    const int code = nacre({"verify", folder}).code;
    if (file == "assets.extra/nacre.json") {
      EXPECT_EQ(code, 0);
    } else if (file == "saved_model.pb") {
      EXPECT_NE(code, 0);
    } else {
      EXPECT_EQ(code, 4);
    }
    write(folder + file, bytes);
  }
  const Outcome right = nacre({"verify", folder, "--json"});
  EXPECT_EQ(right.code, 0) << right.err;
  EXPECT_EQ(nlohmann::json::parse(right.out).at("sha256"), true);
}

TEST_F(ConvertBundleTest, VerifySaysThatAForeignSavedModelHasNoAnswers) {
  std::filesystem::remove_all(path("models/digits/1/assets.extra"));
  const Outcome outcome = nacre({"verify", "models/digits/1"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("foreign: structure and checksums alone"));
  EXPECT_EQ(nlohmann::json::parse(nacre({"verify", "models/digits/1", "--json"}).out).at("sha256"), false);
}

TEST_F(ConvertBundleTest, VerifyRefusesAMarkOfALaterVersion) {
  const std::string file = "models/digits/1/assets.extra/nacre.json";
  std::string mark = read(file);
  const size_t at = mark.find(": 1,");
  ASSERT_NE(at, std::string::npos);
  write(file, mark.replace(at, 4, ": 7,"));
  const Outcome outcome = nacre({"verify", "models/digits/1"});
  EXPECT_EQ(outcome.code, 6);
  EXPECT_THAT(outcome.err, HasSubstr("version 7"));
}

TEST_F(ConvertBundleTest, VerifyNoticesDamagedRecords) {
  const std::string file = "models/digits/1/assets.extra/tf_serving_warmup_requests";
  const std::string bytes = read(file);
  for (const size_t at : {size_t{0}, size_t{9}, size_t{40}, bytes.size() - 1}) {
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ 4);
    write(file, damaged);
    const Outcome outcome = nacre({"verify", "models/digits/1"});
    EXPECT_EQ(outcome.code, 4) << at;
    EXPECT_THAT(outcome.err, HasSubstr("is damaged"));
  }
  write(file, bytes.substr(0, bytes.size() - 3));
  EXPECT_EQ(nacre({"verify", "models/digits/1"}).code, 4);
}

TEST_F(ConvertBundleTest, InspectDiffAndVerifyReadCheckpoints) {
  const Outcome written = nacre({"convert", "run", "--to", "tf_checkpoint", "--out", "tf/model.ckpt-12"});
  ASSERT_EQ(written.code, 0) << written.err;
  for (const std::string name : {"tf/model.ckpt-12", "tf/model.ckpt-12.index", "tf"}) {
    const Outcome outcome = nacre({"inspect", name, "--json"});
    ASSERT_EQ(outcome.code, 0) << outcome.err;
    const auto inside = nlohmann::json::parse(outcome.out);
    EXPECT_EQ(inside.at("kind"), "tf_checkpoint");
    EXPECT_TRUE(inside.contains("state"));
    EXPECT_TRUE(identical("run", name));
    EXPECT_EQ(nacre({"verify", name}).code, 0);
  }
  const std::string data = "tf/model.ckpt-12.data-00000-of-00001";
  std::string bytes = read(data);
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 4);
  write(data, bytes);
  for (const char* command : {"inspect", "verify"}) EXPECT_EQ(nacre({command, "tf"}).code, 4);
}

}  // namespace
}  // namespace nacre
