#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <span>

#include "cli/command.h"
#include "engine/base64.h"
#include "engine/isa.h"
#include "serialize/bundle_file.h"
#include "serialize/checksum.h"
#include "tests/cli/run_fixture.h"

namespace nacre {
namespace {

namespace fs = std::filesystem;

using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;

std::string encoded(std::string_view text) {
  return encode_base64(std::as_bytes(std::span(text)));
}

/// A bundle "model.nacre" and twelve images in the folder "faces".
class PredictBatchTest : public RunTest {
 protected:
  void SetUp() override {
    RunTest::SetUp();
    ASSERT_NO_FATAL_FAILURE(export_colour_model());
    for (const auto& entry : fs::directory_iterator(path("faces")))
      if (entry.path().extension() != ".csv") images_.push_back("faces/" + entry.path().filename().string());
    std::sort(images_.begin(), images_.end());
    ASSERT_EQ(images_.size(), 12U);
  }
  [[nodiscard]] std::string b64(const std::string& image) const {
    return R"({"b64": ")" + encoded(read(image)) + R"("})";
  }
  /// in.jsonl with so many instances that a batch takes a while.
  std::string write_long_input() const {
    std::string in;
    for (size_t i = 0; i < kLong; ++i) in += b64(images_[i % images_.size()]) + "\n";
    write("in.jsonl", in);
    return in;
  }
  /// Until out.jsonl.partial has its first line.
  void wait_for_head(Process& process) const {
    const auto has_head = [&] {
      return exists("out.jsonl.partial") && read("out.jsonl.partial").find('\n') != std::string::npos;
    };
    while (!has_head() && process.running()) usleep(1000);
  }
  [[nodiscard]] Outcome batch(const std::vector<std::string>& more = {}) const {
    std::vector<std::string> arguments{"predict", "model.nacre", "--batch", "in.jsonl", "--out", "out.jsonl"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return nacre(arguments);
  }
  [[nodiscard]] std::vector<nlohmann::json> answers(const std::string& name = "out.jsonl") const {
    std::vector<nlohmann::json> lines;
    for (const std::string& line : lines_of(read(name))) lines.push_back(nlohmann::json::parse(line));
    return lines;
  }
  /// The first line of out.jsonl.partial.
  [[nodiscard]] std::string partial_head() const {
    const std::string input = read("in.jsonl");
    const auto bundle = read_bundle(path("model.nacre"));
    return fmt::format(R"({{"answers_to":"{:016x}","model":"{:016x}","isa":"{}","top_k":0,"nacre":"{}"}})",
                       xxh3(std::as_bytes(std::span(input))), bundle_checksum(*bundle), current_isa_name(),
                       nacre_version()) +
           "\n";
  }

  static constexpr size_t kLong = 20'000;
  std::vector<std::string> images_;
};

TEST_F(PredictBatchTest, AnswersAsPredictDoesInTheOrderOfTheLines) {
  std::string in;
  for (size_t i = 0; i < images_.size(); ++i) {
    in += i % 2 == 0 ? R"({"image": )" + b64(images_[i]) + "}\n" : b64(images_[i]) + "\r\n\n";
  }
  write("in.jsonl", in);
  const Outcome outcome = batch({"--batch-size", "5"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "Wrote out.jsonl: 12 instances.\n");
  const auto lines = answers();
  ASSERT_EQ(lines.size(), images_.size());
  for (size_t i = 0; i < images_.size(); ++i) {
    const auto expected = nlohmann::json::parse(nacre({"predict", "model.nacre", images_[i], "--json"}).out);
    EXPECT_EQ(lines[i], (nlohmann::json{{"prediction", expected["prediction"]}}));
  }
  EXPECT_FALSE(exists("out.jsonl.partial"));
}

TEST_F(PredictBatchTest, KeysAndNamesComeBackWhereAsked) {
  write("in.jsonl", R"({"key": "left", "image": )" + b64(images_[1]) + "}\n" + R"({"key": 7, "b64": ")" +
                        encoded(read(images_[0])) + "\"}");
  ASSERT_EQ(batch({"--top-k", "1"}).code, 0);
  const auto lines = answers();
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_EQ(lines[0]["key"], "left");
  EXPECT_EQ(lines[0]["top"].size(), 1U);
  EXPECT_EQ(lines[0]["top"][0]["label"], "lower");
  EXPECT_EQ(lines[1]["key"], 7);
  EXPECT_EQ(lines[1]["top"][0]["label"], "upper");
}

TEST_F(PredictBatchTest, KeysThatAreNumbersKeepTheirDigits) {
  const std::string image = "\"b64\": \"" + encoded(read(images_[0])) + "\"";
  const std::vector<std::string> numbers{"12345678901234567890123", "-0", "1.10", "1e2",
                                         "18446744073709551615"};
  std::string in;
  for (const std::string& number : numbers) in += "{\"key\": " + number + ", " + image + "}\n";
  in += R"({"image": {)" + image +
        R"(}, "key" :7})"
        "\n";
  in += R"({"b64": "key", "key": 0.50 })"
        "\n";
  in += R"({"\u006bey": 3, "b64": "\"key\": 8"})"
        "\n";
  write("in.jsonl", in);
  EXPECT_EQ(batch().code, 3);
  std::vector<std::string> expected = numbers;
  expected.insert(expected.end(), {"7", "0.50", "3"});
  const auto lines = lines_of(read("out.jsonl"));
  ASSERT_EQ(lines.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_THAT(lines[i], EndsWith(",\"key\":" + expected[i] + "}"));
    EXPECT_TRUE(nlohmann::json::accept(lines[i])) << lines[i];
  }
}

TEST_F(PredictBatchTest, ABadInstanceHasALineOfItsOwnAndTheRestGoesOn) {
  struct Case {
    std::string instance;
    std::string error;
  };
  const std::vector<Case> cases{
      {"{", "instance: "},
      {"[1, 2]", "found array"},
      {"{}", "found neither"},
      {R"({"b64": "", "image": {"b64": ""}})", "found both"},
      {R"({"picture": {"b64": ""}})", "found the key picture"},
      {R"({"image": "abc"})", "found another value for image"},
      {R"({"image": {"b64": "", "more": 1}})", "found another value for image"},
      {R"({"b64": 1})", "found b64 of another type"},
      {R"({"b64": "*"})", "base64: unexpected character"},
      {R"({"b64": ""})", "image: is empty"},
      {R"({"b64": "R0lGODlh"})", "image: is a GIF"},
      {R"({"b64": "R0lGODlh", "key": [1]})", "key: expected text or a number"},
      {R"({"b64": "R0lGODlh", "b64": ""})", "b64"},
      {std::string(5000, '[') + std::string(5000, ']'), "nested"},
  };
  std::string in;
  for (const Case& c : cases) in += c.instance + "\n" + b64(images_[0]) + "\n";
  write("in.jsonl", in);
  const Outcome outcome = batch({"--batch-size", "4"});
  EXPECT_EQ(outcome.code, 3);
  EXPECT_THAT(outcome.err, HasSubstr("nacre: in.jsonl:3: instance: "));
  EXPECT_THAT(outcome.err, HasSubstr("in.jsonl: 14 of 28 instances could not be classified"));
  EXPECT_THAT(outcome.err, Not(HasSubstr("nacre: in.jsonl:21:"))) << "only the first ten are told";
  const auto lines = answers();
  ASSERT_EQ(lines.size(), 2 * cases.size());
  for (size_t i = 0; i < cases.size(); ++i) {
    ASSERT_TRUE(lines[2 * i].contains("error")) << cases[i].instance;
    EXPECT_THAT(lines[2 * i]["error"].get<std::string>(), HasSubstr(cases[i].error)) << cases[i].instance;
    EXPECT_TRUE(lines[2 * i + 1].contains("prediction"));
  }
}

TEST_F(PredictBatchTest, KilledAtAnyMomentItGoesOnToTheSameAnswers) {
  std::string in;
  for (int i = 0; i < 6000; ++i) {
    in += i % 10 == 3 ? std::string("{\"b64\": \"no\"}\n")
                      : b64(images_[static_cast<size_t>(i) % images_.size()]) + "\n";
  }
  write("in.jsonl", in);
  ASSERT_EQ(batch().code, 3);
  const std::string whole = read("out.jsonl");
  fs::remove(path("out.jsonl"));
  const std::vector<std::string> command{"predict", "model.nacre", "--batch",      "in.jsonl",
                                         "--out",   "out.jsonl",   "--batch-size", "7"};
  bool killed = false;
  for (int delay = 1; delay <= 8 && !exists("out.jsonl"); ++delay) {
    Process process(command, folder_);
    usleep(static_cast<useconds_t>(15'000 * delay));
    process.send(delay % 3 == 0 ? SIGTERM : SIGKILL);
    const int code = process.wait().code;
    killed = code == 128 + SIGKILL || code == 143 || killed;
  }
  EXPECT_TRUE(killed);
  if (!exists("out.jsonl")) {
    const Outcome outcome = nacre(command);
    EXPECT_EQ(outcome.code, 3) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr("in.jsonl: 600 of 6,000 instances could not be classified"));
  }
  EXPECT_EQ(read("out.jsonl"), whole);
}

TEST_F(PredictBatchTest, WhatWasLeftHalfWrittenIsComputedAgain) {
  write("in.jsonl", b64(images_[0]) + "\n" + b64(images_[1]) + "\n" + b64(images_[2]) + "\n");
  ASSERT_EQ(batch().code, 0);
  const std::string whole = read("out.jsonl");
  const std::string head = partial_head();
  for (const std::string& tail : {std::string(), whole.substr(0, 5), whole.substr(0, whole.size() - 1), whole,
                                  whole.substr(0, whole.find('\n') + 1) + std::string(300, '\0'),
                                  whole.substr(0, whole.find('\n') + 1) + std::string(3, '\0') + "\n"}) {
    fs::remove(path("out.jsonl"));
    write("out.jsonl.partial", head + tail);
    ASSERT_EQ(batch().code, 0);
    EXPECT_EQ(read("out.jsonl"), whole);
  }
  fs::remove(path("out.jsonl"));
  write("out.jsonl.partial", head.substr(0, head.size() / 2));
  ASSERT_EQ(batch().code, 0);
  EXPECT_EQ(read("out.jsonl"), whole);
}

TEST_F(PredictBatchTest, AnswersOfAnotherInputOrModelAreNotGoneOnWith) {
  write("in.jsonl", b64(images_[0]) + "\n");
  const std::string head = partial_head();
  write("out.jsonl.partial", head);
  write("in.jsonl", b64(images_[1]) + "\n");
  const Outcome other = batch();
  EXPECT_EQ(other.code, 3);
  EXPECT_THAT(other.err, HasSubstr("out.jsonl.partial: was begun with another input"));
  EXPECT_FALSE(exists("out.jsonl"));
  write("in.jsonl", b64(images_[0]) + "\n");
  EXPECT_EQ(batch({"--top-k", "2"}).code, 3);
  EXPECT_EQ(batch().code, 0);
}

TEST_F(PredictBatchTest, AnswersOfAnotherNetworkOrInstructionSetAreNotGoneOnWith) {
  // The checkpoint alone does not say what computes: the same variables fit both networks.
  write("alone.ckpt", read("run/checkpoints/latest"));
  std::string model = read("colour.json");
  write("other.json", model.replace(model.find("relu"), 4, "tanh"));
  write_long_input();
  const auto command = [](const std::string& network) {
    return std::vector<std::string>{"predict", "alone.ckpt", "--model", network,
                                    "--batch", "in.jsonl",   "--out",   "out.jsonl"};
  };
  Process process(command("colour.json"), folder_);
  wait_for_head(process);
  process.send(SIGKILL);
  ASSERT_EQ(process.wait().code, 128 + SIGKILL);
  const Outcome other = nacre(command("other.json"));
  EXPECT_EQ(other.code, 3);
  EXPECT_THAT(other.err, HasSubstr("out.jsonl.partial: was begun with another input, model"));
  ::setenv("NACRE_ISA", "reference", 1);
  EXPECT_EQ(nacre(command("colour.json")).code, 3);
  ::unsetenv("NACRE_ISA");
  EXPECT_EQ(nacre(command("colour.json")).code, 0);
}

TEST_F(PredictBatchTest, AnInputThatChangesEndsTheBatch) {
  const std::string in = write_long_input();
  Process process({"predict", "model.nacre", "--batch", "in.jsonl", "--out", "out.jsonl"}, folder_);
  wait_for_head(process);
  fs::resize_file(path("in.jsonl"), 1000);
  const Outcome outcome = process.wait();
  EXPECT_EQ(outcome.code, 3);
  EXPECT_THAT(outcome.err, HasSubstr("in.jsonl: changed while it was read"));
  EXPECT_FALSE(exists("out.jsonl"));
  write("in.jsonl", in);
  EXPECT_EQ(batch().code, 0) << "goes on when it is as it was";
  EXPECT_EQ(lines_of(read("out.jsonl")).size(), kLong);
}

TEST_F(PredictBatchTest, AForeignFileIsNotOverwritten) {
  write("in.jsonl", b64(images_[0]) + "\n");
  for (const std::string text : {"no line feed", "notes\n", "{", "{\"answers_to\":\"0\"}"}) {
    write("out.jsonl.partial", text);
    const Outcome outcome = batch();
    const bool ours = partial_head().starts_with(text);
    EXPECT_EQ(outcome.code, ours ? 0 : 3) << text;
    EXPECT_EQ(ours ? text : read("out.jsonl.partial"), text);
    fs::remove(path("out.jsonl"));
  }
}

TEST_F(PredictBatchTest, BadUseIsNamed) {
  write("in.jsonl", "");
  EXPECT_EQ(batch().code, 0) << "of nothing comes nothing";
  EXPECT_EQ(read("out.jsonl"), "");
  EXPECT_THAT(batch().err, HasSubstr("out.jsonl"));
  EXPECT_EQ(batch().code, 5) << "exists";
  EXPECT_EQ(batch({"--overwrite"}).code, 0);
  for (const char* file : {"in.jsonl", "./model.nacre"}) {
    expect_one_line(nacre({"predict", "model.nacre", "--batch", "in.jsonl", "--out", file, "--overwrite"}), 2,
                    "which the answers would replace");
  }
  expect_one_line(nacre({"predict", "model.nacre", "--batch", "-", "--out", "x"}), 2,
                  "--batch: expected a file");
  expect_one_line(nacre({"predict", "model.nacre", "--batch", "in.jsonl", "--out", "-"}), 2,
                  "--out: expected a file");
  EXPECT_FALSE(exists("-"));
  EXPECT_EQ(batch({"faces"}).code, 2);
  EXPECT_EQ(nacre({"predict", "model.nacre", "--batch", "in.jsonl"}).code, 2);
  EXPECT_EQ(nacre({"predict", "model.nacre", "faces", "--out", "x"}).code, 2);
  EXPECT_EQ(nacre({"predict", "model.nacre", "--batch", "none", "--out", "x"}).code, 5);
}

}  // namespace
}  // namespace nacre
