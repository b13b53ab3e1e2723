#include <fmt/format.h>

#include <filesystem>

#include "cli/progress.h"
#include "image/encode.h"
#include "tests/cli/run_fixture.h"

namespace nacre {
namespace {

namespace fs = std::filesystem;

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

/// A newcomer's folder of photos.
class TrainFolderTest : public RunTest {
 protected:
  void SetUp() override {
    RunTest::SetUp();
    write_colour_model("colour.json");
    for (int i = 0; i < 10; ++i) {
      photo(fmt::format("my photos/light/{}.png", i), 12 + i, 10, 170 + 5 * i);
      if (i < 5) photo(fmt::format("my photos/dark/{}.jpg", i), 20, 30 + i, 10 + 5 * i);
    }
  }
  void photo(const std::string& name, int64_t height, int64_t width, int level) const {
    Image image{height, width, 3, {}};
    for (int64_t p = 0; p < height * width * 3; ++p) {
      image.pixels.push_back(static_cast<uint8_t>(level + p * 7 % 20));
    }
    const auto bytes = name.ends_with("png") ? encode_png(image) : encode_jpeg(image, 95);
    ASSERT_TRUE(bytes.ok());
    write(name, {reinterpret_cast<const char*>(bytes->data()), bytes->size()});
  }
  static std::vector<std::string> arguments(const std::string& run, const std::vector<std::string>& more) {
    std::vector<std::string> all{
        "train",    "--model", "colour.json",  "--data", "my photos",       "--out", run,
        "--epochs", "6",       "--batch-size", "4",      "--learning-rate", "0.01"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  [[nodiscard]] Outcome photos(const std::string& run, const std::vector<std::string>& more) const {
    return nacre(arguments(run, more));
  }
};

TEST_F(TrainFolderTest, PhotosOfAnySizeJustWork) {
  const Outcome outcome = photos("run", {"--validation", "0.2"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("my photos: 15 images in 2 classes: dark 5, light 10"));
  EXPECT_THAT(outcome.err,
              HasSubstr("images are from 10x12 to 34x20 pixels, resized to 8x8 (their proportions change)"));
  EXPECT_THAT(outcome.err,
              HasSubstr("split class by class, by seed 0: 12 images to train on, 3 for validation"));
  EXPECT_EQ(read("run/labels.txt"), "dark\nlight\n");
  EXPECT_EQ(metrics("run").back().at("validation_accuracy"), 1.0);
  const auto config = nlohmann::json::parse(read("run/config.json"));
  EXPECT_EQ(config.at("validation"), "0.2");
  EXPECT_EQ(config.at("data"), path("my photos"));
}

TEST_F(TrainFolderTest, AGreyNetworkSaysThatColoursGo) {
  const Outcome outcome = train("run", {"--data", "my photos"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.err,
              HasSubstr("resized to 8x8 (their proportions change); the network sees them in grey\n"));
  EXPECT_THAT(train("digits").err, Not(HasSubstr("grey")));
}

TEST_F(TrainFolderTest, WhatWasHeldOutCanBeEvaluated) {
  const Outcome outcome = photos("run", {"--validation", "0.2"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("nacre eval run --data run/validation.csv"));
  EXPECT_THAT(outcome.err, HasSubstr("training colour on 12 images of 2 classes, 3 images for validation; "
                                     "18 steps of 4 images, "));
  const Outcome evaluated = nacre({"eval", "run", "--data", "run/validation.csv", "--json"});
  ASSERT_EQ(evaluated.code, 0) << evaluated.err;
  const auto report = nlohmann::json::parse(evaluated.out);
  EXPECT_EQ(report.at("count"), 3);
  EXPECT_EQ(report.at("accuracy"), metrics("run").back().at("validation_accuracy"));
  // Another run in its place, without a fraction, leaves no list that is not its own.
  ASSERT_EQ(photos("run", {"--overwrite"}).code, 0);
  EXPECT_FALSE(fs::exists(path("run/validation.csv")));
}

TEST_F(TrainFolderTest, ARunIsNoClassOfItsData) {
  const Outcome inside = photos("my photos/run", {});
  EXPECT_EQ(inside.code, 2);
  EXPECT_EQ(
      inside.err,
      "nacre: --out: my photos/run lies in the data folder my photos, where it would be taken for a class; "
      "give a folder beside it\n");
  EXPECT_FALSE(fs::exists(path("my photos/run")));
  fs::copy(path("my photos"), path("held out"), fs::copy_options::recursive);
  expect_one_line(photos("held out/run", {"--validation", "held out"}), 2,
                  "lies in the data folder held out");
  expect_one_line(photos("colour.json/run", {}), 5, "colour.json is no folder");
}

TEST_F(TrainFolderTest, DataSetsAreNoClasses) {
  fs::create_directories(path("sets/train"));
  fs::create_directories(path("sets/val"));
  const Outcome sets =
      nacre({"train", "--model", "colour.json", "--data", "sets", "--out", "run", "--steps", "1"});
  EXPECT_EQ(sets.code, 3);
  EXPECT_EQ(sets.err,
            "nacre: sets: holds data sets, not classes; give --data sets/train --validation sets/val\n");
  ASSERT_EQ(train("run").code, 0);
  fs::rename(path("sets"), path("two sets"));
  expect_one_line(nacre({"eval", "run", "--data", "two sets"}), 3,
                  "nacre: two sets: holds data sets, not classes; give --data 'two sets/val'\n");
  fs::create_directories(path("more/Training"));
  fs::create_directories(path("more/Testing"));
  expect_one_line(train("run2", {"--data", "more"}), 3, "--data more/Training --validation more/Testing");
}

TEST_F(TrainFolderTest, AWarmUpThatDoesNotEndIsTold) {
  const Outcome warm = nacre({"train", "--model", "colour.json", "--data", "my photos", "--out", "run",
                              "--steps", "1", "--warmup-steps", "100", "--threads", "1"});
  ASSERT_EQ(warm.code, 0) << warm.err;
  EXPECT_THAT(warm.err, HasSubstr("the run ends before its warm-up of 100 steps does"));
  EXPECT_THAT(warm.err, HasSubstr("; 1 step of 15 images, 1 thread\n"));
}

TEST_F(TrainFolderTest, EvaluationLeavesOutBadFilesWhenTold) {
  ASSERT_EQ(photos("run", {}).code, 0);
  write("my photos/dark/notes.txt", "no image");
  EXPECT_EQ(nacre({"eval", "run", "--data", "my photos"}).code, 3);
  const Outcome skipped = nacre({"eval", "run", "--data", "my photos", "--skip-bad", "1", "--json"});
  ASSERT_EQ(skipped.code, 0) << skipped.err;
  EXPECT_THAT(skipped.err, HasSubstr("left out: my photos/dark/notes.txt: "));
  EXPECT_EQ(nlohmann::json::parse(skipped.out).at("count"), 15);
}

TEST_F(TrainFolderTest, TheSummarysCommandsWorkAsPrinted) {
  const Outcome outcome = photos("the run", {"--validation", "my photos"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  std::string commands = outcome.out.substr(outcome.out.find("Next: ") + 6);
  EXPECT_THAT(commands, AllOf(HasSubstr("nacre eval 'the run' --data 'my photos'"),
                              HasSubstr("nacre export 'the run' --out 'the run/model.nacre'"),
                              HasSubstr("nacre predict 'the run/model.nacre' 'my photos/dark/0.jpg'")));
  const std::string script =
      "set -eu\ncd '" + folder_ + "'\nnacre() { '" NACRE_BINARY_DIR "/nacre' \"$@\"; }\n" + commands;
  write("next.sh", script);
  EXPECT_EQ(std::system(("sh '" + path("next.sh") + "' > '" + path("next.out") + "' 2>&1").c_str()), 0)
      << read("next.out");
  EXPECT_THAT(read("next.out"), HasSubstr("dark"));
}

TEST_F(TrainFolderTest, SplitRunsResumeAndRepeatToTheBit) {
  const std::vector<std::string> more{"--validation",
                                      "0.3",
                                      "--augment",
                                      "flip,crop=2",
                                      "--clip-norm",
                                      "0.5",
                                      "--class-weights",
                                      "balanced",
                                      "--patience",
                                      "50",
                                      "--exif-orient",
                                      "--label-smoothing",
                                      "0.1",
                                      "--seed",
                                      "5"};
  const auto with = [&](std::vector<std::string> extra) {
    extra.insert(extra.begin(), more.begin(), more.end());
    return extra;
  };
  ASSERT_EQ(photos("whole", with({"--threads", "1"})).code, 0);
  ASSERT_EQ(photos("three", with({"--threads", "3"})).code, 0);
  EXPECT_TRUE(identical("whole", "three"));
  Process process(arguments("run", with({"--checkpoint-every", "1"})), folder_);
  while (process.running() && !exists("run/checkpoints/latest")) usleep(300);
  process.send(SIGKILL);
  process.wait();
  const Outcome resumed = nacre({"train", "--out", "run", "--resume"});
  ASSERT_EQ(resumed.code, 0) << resumed.err;
  EXPECT_TRUE(identical("whole", "run"));
  const Outcome again = nacre({"train", "--config", "whole/config.json", "--out", "again"});
  ASSERT_EQ(again.code, 0) << again.err;
  EXPECT_TRUE(identical("whole", "again"));
  // Another share is another list.
  const Outcome other = nacre({"train", "--out", "run", "--resume", "--validation", "0.2", "--epochs", "7"});
  EXPECT_EQ(other.code, 3);
  EXPECT_THAT(other.err, HasSubstr("data (its list"));
}

TEST_F(TrainFolderTest, BadFilesAreNamedOrSkippedAndCounted) {
  write("my photos/dark/notes.txt", "not a photo\n");
  const Outcome refused = photos("run", {});
  EXPECT_EQ(refused.code, 3);
  EXPECT_EQ(
      refused.err,
      "nacre: my photos/dark/notes.txt: is a text file, not a JPEG or PNG (1 bad file found; --skip-bad "
      "N leaves such files out)\n");
  const Outcome skipped = photos("run", {"--skip-bad", "1"});
  EXPECT_EQ(skipped.code, 0) << skipped.err;
  EXPECT_THAT(skipped.err, HasSubstr("left out: my photos/dark/notes.txt: "));
  EXPECT_THAT(skipped.err, HasSubstr("1 left out in all"));
  const Outcome split = photos("split", {"--skip-bad", "1", "--validation", "0.2"});
  EXPECT_EQ(split.code, 0) << split.err;
  EXPECT_THAT(split.err, HasSubstr("left out: my photos/dark/notes.txt: "));
  EXPECT_THAT(split.err, HasSubstr("1 left out in all"));
}

TEST_F(TrainFolderTest, ACutImageIsFoundInTrainingAndTheOptionSuggested) {
  const std::string whole = read("my photos/dark/0.jpg");
  write("my photos/dark/0.jpg", whole.substr(0, whole.size() - 40));
  const Outcome outcome = photos("run", {});
  EXPECT_EQ(outcome.code, 3);
  EXPECT_THAT(lines_of(outcome.err).back(),
              AllOf(testing::StartsWith("nacre: my photos/dark/0.jpg: "),
                    testing::EndsWith(" (--skip-bad N leaves such files out)")));
}

TEST_F(TrainFolderTest, AFileInPlaceOfDataIsCalledByItsName) {
  for (const auto& [file, what] :
       {std::pair{"my photos/dark/0.jpg", "a JPEG"}, {"my photos/light/0.png", "a PNG"}}) {
    const Outcome outcome = nacre({"train", "--model", "colour.json", "--data", file, "--out", "run"});
    EXPECT_EQ(outcome.code, 3);
    EXPECT_EQ(outcome.err, fmt::format("nacre: {}: is {}, expected a folder or a CSV list\n", file, what));
  }
  // A list's first name may begin as other files do.
  fs::copy_file(path("my photos/dark/0.jpg"), path("BMW.jpg"));
  write("list.csv", "BMW.jpg,car,0\n");
  EXPECT_EQ(
      nacre({"train", "--model", "colour.json", "--data", "list.csv", "--out", "run", "--steps", "1"}).code,
      0);
}

TEST_F(TrainFolderTest, AClassWithoutValidationIsTold) {
  photo("my photos/single/1.png", 9, 9, 100);
  const Outcome outcome = photos("run", {"--validation", "0.2"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("nacre: no image for validation: single\n"));
  const Outcome none = photos("none", {"--validation", "0.001"});
  EXPECT_EQ(none.code, 3);
  EXPECT_EQ(none.err, "nacre: my photos: a share of 0.001 of every class leaves no image for validation\n");
}

TEST_F(TrainFolderTest, LabelsSettleTheOrderAndRefuseOthers) {
  write("names.txt", "light\nother\ndark\n");
  const Outcome outcome = photos("run", {"--labels", "names.txt"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(read("run/labels.txt"), "light\nother\ndark\n");
  EXPECT_THAT(outcome.err, HasSubstr("1 of the 3 classes have no image to train on, the first is other"));
  ASSERT_EQ(nacre({"train", "--config", "run/config.json", "--out", "again"}).code, 0);
  EXPECT_TRUE(identical("run", "again"));
  write("names.txt", "light\n");
  const Outcome unknown = photos("bad", {"--labels", "names.txt"});
  EXPECT_EQ(unknown.code, 3);
  EXPECT_THAT(unknown.err, HasSubstr("my photos/dark: unknown class"));
  const Outcome resumed = photos("run", {"--labels", "names.txt", "--resume"});
  EXPECT_EQ(resumed.code, 3);
  EXPECT_THAT(resumed.err, HasSubstr("names.txt: these are not the classes of the run"));
}

TEST_F(TrainFolderTest, ExifIsPartOfTheModel) {
  ASSERT_EQ(photos("run", {"--exif-orient"}).code, 0);
  const auto config = nlohmann::json::parse(read("run/config.json"));
  EXPECT_EQ(config.at("model").at("input").at("exif"), "apply");
  ASSERT_EQ(nacre({"export", "run", "--out", "m.nacre"}).code, 0);
  const Outcome inspect = nacre({"inspect", "m.nacre", "--json"});
  EXPECT_EQ(nlohmann::json::parse(inspect.out).at("input").at("exif"), "apply");
}

TEST_F(TrainFolderTest, EvalTakesAFolderWithTheModelsClasses) {
  ASSERT_EQ(photos("run", {}).code, 0);
  const Outcome outcome = nacre({"eval", "run", "--data", "my photos", "--json"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(nlohmann::json::parse(outcome.out).at("count"), 15);
  photo("my photos/strange/1.png", 9, 9, 100);
  const Outcome strange = nacre({"eval", "run", "--data", "my photos"});
  EXPECT_EQ(strange.code, 3);
  EXPECT_THAT(strange.err, HasSubstr("my photos/strange: unknown class"));
}

TEST_F(TrainFolderTest, TrainingStartsFromAnothersVariables) {
  ASSERT_EQ(photos("first", {}).code, 0);
  ASSERT_EQ(nacre({"export", "first", "--out", "first.nacre"}).code, 0);
  // With the same classes all is taken: without a learning rate it stays what it was.
  for (const std::string from : {"first", "first.nacre", "first/checkpoints/latest"}) {
    fs::remove_all(path("second"));
    const Outcome second = nacre({"train", "--model", "colour.json", "--data", "my photos", "--out", "second",
                                  "--steps", "1", "--learning-rate", "0", "--init-from", from});
    ASSERT_EQ(second.code, 0) << second.err;
    EXPECT_THAT(second.err, HasSubstr("4 of 4 variables taken"));
    const Outcome diff = nacre({"diff", "first", "second", "--json"});
    const auto report = nlohmann::json::parse(diff.out);  // the loop walks inside it
    for (const auto& variable : report.at("variables")) {
      if (variable.at("name").get<std::string>().find("adam") == std::string::npos) {
        EXPECT_EQ(variable.at("status"), "identical") << variable.dump();
      }
    }
  }
  // Another head for other classes.
  photo("my photos/middle/1.png", 9, 9, 100);
  const Outcome third = photos("third", {"--init-from", "first"});
  ASSERT_EQ(third.code, 0) << third.err;
  EXPECT_THAT(third.err, AllOf(HasSubstr("2 of 4 variables taken"),
                               HasSubstr("started anew, for the classes are others: out/kernel, out/bias")));
  // A run that goes on says that it does not start again, and remembers what it did start from.
  const Outcome resumed = photos("third", {"--init-from", "second", "--map", "m.json", "--resume"});
  ASSERT_EQ(resumed.code, 0) << resumed.err;
  EXPECT_THAT(resumed.err,
              HasSubstr("--init-from: second is not read: the run goes on from its own checkpoint\n"));
  EXPECT_EQ(nlohmann::json::parse(read("third/config.json")).at("init-from"), path("first"));
  EXPECT_THAT(read("third/config.json"), Not(HasSubstr("m.json")));
  EXPECT_THAT(nacre({"train", "--out", "third", "--resume"}).err, Not(HasSubstr("init-from")));
  // A network that is another is refused.
  write_model("tiny.json");
  const Outcome other = train("fourth", {"--init-from", "first"});
  EXPECT_EQ(other.code, 3);
  EXPECT_THAT(other.err, AllOf(HasSubstr("cannot start from it: conv1/kernel is [3, 3, 3, 4]"),
                               HasSubstr("expected [3, 3, 1, 4]")));
  EXPECT_EQ(train("fifth", {"--init-from", "tiny.json"}).code, 4);
  EXPECT_EQ(train("fifth", {"--init-from", "nowhere"}).code, 5);
}

TEST_F(TrainFolderTest, BadValuesAreRefusedInOneLine) {
  const auto expect = [&](const std::vector<std::string>& more, int code, const std::string& reason) {
    const Outcome outcome = photos("run", more);
    EXPECT_EQ(outcome.code, code) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(reason));
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
  };
  for (const char* fraction : {"0", "1", "1.5", "-0.1", "nan", "1e999"}) {
    expect({std::string("--validation=") + fraction}, 2, "--validation: expected a path, or a fraction");
  }
  expect({"--label-smoothing", "1.5"}, 2, "--label-smoothing: expected a number from 0 to 1");
  expect({"--class-weights", "some"}, 2, "--class-weights: expected none|balanced");
  expect({"--clip-norm=-1"}, 2, "--clip-norm: expected a number");
  expect({"--patience=-1"}, 2, "--patience: expected an integer");
  expect({"--augment", "crop=8"}, 2, "crop");
  expect({"--labels", "nowhere.txt"}, 5, "nowhere.txt");
  write("twice.txt", "a\na\n");
  expect({"--labels", "twice.txt"}, 3, "twice.txt:2: ");
  fs::create_directories(path("empty"));
  const Outcome empty = nacre({"train", "--model", "colour.json", "--data", "empty", "--out", "run"});
  EXPECT_EQ(empty.code, 3);
  EXPECT_THAT(empty.err, HasSubstr("expected a sub-folder of images for each class"));
}

TEST_F(TrainFolderTest, PatienceEndsTheRunAndItStaysEnded) {
  const std::vector<std::string> more{"--validation", "0.2", "--patience", "2", "--epochs", "50"};
  const auto without_rate = [&](std::vector<std::string> extra) {
    extra.insert(extra.begin(), {"train", "--model", "colour.json", "--data", "my photos", "--out", "run",
                                 "--learning-rate", "0"});
    extra.insert(extra.end(), more.begin(), more.end());
    return nacre(extra);
  };
  const Outcome outcome = without_rate({});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("Stopped early: 2 validations without a better accuracy"));
  EXPECT_EQ(metrics("run").back().at("epoch"), 3);
  const Outcome again = without_rate({"--resume"});
  EXPECT_EQ(again.code, 0) << again.err;
  EXPECT_THAT(again.out, HasSubstr("had ended already"));
  EXPECT_EQ(metrics("run").back().at("epoch"), 3);
  const Outcome longer = nacre({"train", "--out", "run", "--resume", "--patience", "4"});
  EXPECT_EQ(longer.code, 0) << longer.err;
  EXPECT_EQ(metrics("run").back().at("epoch"), 5);
}

TEST(LiveLine, FitsTheWidthAndHasABarWhereThereIsRoom) {
  StepReport report;
  report.step = 150;
  report.total_steps = 600;
  report.epoch = 1;
  report.loss = 0.45123;
  report.accuracy = 0.84;
  report.images_per_second = 9120;
  report.seconds_left = 72;
  const std::string text = "150/600  epoch 2  loss 0.4512  accuracy 84.0%  9,120 images/s  1m 12s left";
  EXPECT_EQ(live_line(report, 80), text);
  EXPECT_EQ(live_line(report, text.size() + 15), "[===>        ] " + text);
  EXPECT_EQ(live_line(report, 10), text.substr(0, 10));
  EXPECT_EQ(live_line(report, 300).size(), text.size() + 33);
  report.step = 600;
  EXPECT_THAT(live_line(report, 300),
              AllOf(testing::StartsWith("[" + std::string(30, '=') + "] 600/600"), Not(HasSubstr("left"))));
}

}  // namespace
}  // namespace nacre
