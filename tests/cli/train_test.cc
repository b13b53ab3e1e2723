#include <csignal>
#include <filesystem>

#include "tests/cli/run_fixture.h"

namespace nacre {
namespace {

namespace fs = std::filesystem;

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

using TrainTest = RunTest;

TEST_F(TrainTest, WritesARunFolder) {
  const Outcome outcome = train("deep/run");
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("nacre export deep/run --out"));
  EXPECT_THAT(checkpoints("deep/run"),
              ElementsAre("best", "latest", "step-00000006.ckpt", "step-00000012.ckpt"));
  EXPECT_EQ(fs::read_symlink(path("deep/run/checkpoints/latest")), "step-00000012.ckpt");
  EXPECT_EQ(read("deep/run/labels.txt"), "0\n1\n2\n");
  const auto lines = metrics("deep/run");
  ASSERT_EQ(lines.size(), 12U);
  for (size_t i = 0; i < lines.size(); ++i) {
    EXPECT_EQ(lines[i].at("step"), i + 1);
    EXPECT_EQ(lines[i].at("epoch"), i / 6 + 1);
    EXPECT_TRUE(lines[i].at("loss").is_number());
    EXPECT_TRUE(lines[i].at("accuracy").is_number());
    EXPECT_GT(lines[i].at("images_per_second"), 0);
    EXPECT_EQ(lines[i].contains("validation_accuracy"), i % 6 == 5);
    EXPECT_EQ(lines[i].contains("validation_loss"), i % 6 == 5);
  }
  const auto config = nlohmann::json::parse(read("deep/run/config.json"));
  EXPECT_EQ(config.at("model").at("name"), "tiny");
  EXPECT_THAT(config.at("labels"), ElementsAre("0", "1", "2"));
  EXPECT_EQ(config.at("batch-size"), 10);
  EXPECT_EQ(config.at("data"), path("idx"));
  EXPECT_FALSE(config.contains("out"));
}

TEST_F(TrainTest, LearnsWhatIsEasy) {
  ASSERT_EQ(train("run", {"--epochs", "8"}).code, 0);
  EXPECT_EQ(metrics("run").back().at("validation_accuracy"), 1.0);
}

TEST_F(TrainTest, ThreadsChangeNothingAndTheSeedEverything) {
  ASSERT_EQ(train("one", {"--threads", "1"}).code, 0);
  ASSERT_EQ(train("two", {"--threads", "2"}).code, 0);
  ASSERT_EQ(train("three", {"--threads", "3"}).code, 0);
  ASSERT_EQ(train("seed", {"--seed", "1"}).code, 0);
  EXPECT_TRUE(identical("one", "two"));
  EXPECT_TRUE(identical("one", "three"));
  EXPECT_FALSE(identical("one", "seed"));
}

TEST_F(TrainTest, OptionsJoinTheRecipesOptimizerOrReplaceIt) {
  write_model("tiny.json",
              R"({"optimizer": "sgd", "momentum": 0.9, "nesterov": true, "learning-rate": 0.5})");
  const Outcome joined = train("joined", {"--momentum", "0.5"});
  ASSERT_EQ(joined.code, 0) << joined.err;
  EXPECT_THAT(read("joined/config.json"), HasSubstr(R"("momentum": 0.5)"));
  const Outcome replaced = train("replaced", {"--optimizer", "adamw"});
  ASSERT_EQ(replaced.code, 0) << replaced.err;
  EXPECT_THAT(read("replaced/config.json"), HasSubstr(R"("momentum": 0.0)"));
  EXPECT_THAT(read("replaced/config.json"), HasSubstr(R"("nesterov": false)"));
}

TEST_F(TrainTest, ConfigRepeatsTheRun) {
  write_model("tiny.json",
              R"({"optimizer": "sgd", "momentum": 0.9, "augment": "flip", "lr-schedule": "cosine"})");
  ASSERT_EQ(train("run", {"--seed", "3", "--weight-decay", "0.001"}).code, 0);
  fs::remove(path("tiny.json"));
  const Outcome again = nacre({"train", "--config", "run/config.json", "--out", "again"});
  ASSERT_EQ(again.code, 0) << again.err;
  EXPECT_TRUE(identical("run", "again"));
}

TEST_F(TrainTest, OptionsWinOverConfigAndThatOverTheRecipe) {
  write_model("tiny.json", R"({"seed": 1, "batch-size": 5, "epochs": 3, "keep": 2})");
  write("config.json", R"({"seed": 2, "batch-size": 6})");
  const Outcome outcome = nacre({"train", "--model", "tiny.json", "--data", "idx", "--out", "run", "--config",
                                 "config.json", "--seed", "9", "--steps", "2"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const auto config = nlohmann::json::parse(read("run/config.json"));
  EXPECT_EQ(config.at("seed"), 9);
  EXPECT_EQ(config.at("batch-size"), 6);
  EXPECT_EQ(config.at("keep"), 2);
  EXPECT_EQ(config.at("steps"), 2);
  EXPECT_FALSE(config.contains("epochs"));
}

TEST_F(TrainTest, AFileIsNoRunFolder) {
  for (const std::string& more : {std::string("--overwrite"), std::string("--no-shuffle")}) {
    expect_one_line(train("tiny.json", {more}), 5, "nacre: tiny.json: exists and is no folder");
  }
}

TEST_F(TrainTest, BadOptionsAreNamed) {
  const auto expect = [&](const std::vector<std::string>& more, int code, const std::string& text) {
    const Outcome outcome = train("run", more);
    EXPECT_EQ(outcome.code, code) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(text));
    EXPECT_FALSE(exists("run"));
  };
  expect({"--batch-size", "0"}, 2, "--batch-size: expected an integer from 1 to");
  expect({"--batch-size", "x"}, 2, "found \"x\"");
  expect({"--learning-rate", "nan"}, 2, "found \"nan\"");
  expect({"--learning-rate", "-inf"}, 2, "--learning-rate: expected a number from 0 to ");
  expect({"--optimizer", "lion"}, 2, "--optimizer: expected sgd|adam|adamw, found \"lion\"");
  expect({"--augment", "swirl"}, 2, "--augment");
  expect({"--augment", "hue=0.1"}, 2, "--augment");
  expect({"--epochs", "1", "--steps", "1"}, 2, "either epochs or steps");
  expect({"--momentum", "0.9"}, 2, "--momentum");
  expect({"--nesterov", "--optimizer", "sgd"}, 2, "--nesterov: needs");
  expect({"--no-such-option"}, 2, "--no-such-option");
  write("config.json", R"({"batch-sise": 6})");
  expect({"--config", "config.json"}, 3, "config.json: \"batch-sise\" is no option there; known are");
  write_model("tiny.json", R"({"data": "idx"})");
  expect({}, 3, "tiny.json");
  write_model("tiny.json", R"({"seed": "one"})");
  expect({}, 3, "seed: expected an integer");
}

TEST_F(TrainTest, AModelThatCannotBeExportedIsRefusedBeforeTraining) {
  write("taken.json", R"({"name": "taken", "input": {"height": 8, "width": 8, "channels": 1}, "layers": [
    {"op": "Flatten", "name": "prediction"}, {"op": "Dense", "name": "out", "units": "classes"}]})");
  const Outcome outcome = nacre({"train", "--model", "taken.json", "--data", "idx", "--out", "run"});
  EXPECT_EQ(outcome.code, 3);
  EXPECT_THAT(outcome.err, HasSubstr("taken.json: two nodes are named \"prediction\""));
  EXPECT_FALSE(exists("run/checkpoints/latest"));
}

TEST_F(TrainTest, MissingOptionsAreNamed) {
  EXPECT_THAT(nacre({"train", "--data", "idx", "--out", "run"}).err, HasSubstr("--model is required"));
  EXPECT_THAT(nacre({"train", "--model", "tiny.json", "--out", "run"}).err, HasSubstr("--data is required"));
  EXPECT_THAT(nacre({"train", "--model", "tiny.json", "--data", "idx"}).err, HasSubstr("--out is required"));
  EXPECT_EQ(nacre({"train", "--model", "nosuch", "--data", "idx", "--out", "run"}).code, 2);
}

TEST_F(TrainTest, AnExistingRunIsRefused) {
  ASSERT_EQ(train("run").code, 0);
  const std::string before = read("run/metrics.jsonl");
  const Outcome refused = train("run");
  EXPECT_EQ(refused.code, 5);
  EXPECT_THAT(refused.err, HasSubstr("--overwrite"));
  EXPECT_EQ(read("run/metrics.jsonl"), before);
  ASSERT_EQ(train("run", {"--overwrite", "--steps", "3"}).code, 0);
  EXPECT_THAT(checkpoints("run"), ElementsAre("best", "latest", "step-00000003.ckpt"));
  EXPECT_EQ(metrics("run").size(), 3U);
}

TEST_F(TrainTest, OverwriteWithBadDataLosesNothing) {
  ASSERT_EQ(train("run").code, 0);
  EXPECT_EQ(nacre({"train", "--model", "tiny.json", "--data", "nosuch", "--out", "run", "--overwrite"}).code,
            5);
  EXPECT_EQ(metrics("run").size(), 12U);
  EXPECT_TRUE(exists("run/checkpoints/step-00000012.ckpt"));
}

TEST_F(TrainTest, AFolderOfOtherThingsIsRefused) {
  write("other/labels.txt", "mine\n");
  write("other/notes.txt", "mine\n");
  EXPECT_EQ(train("other").code, 5);
  EXPECT_EQ(train("other", {"--resume"}).code, 5);
  EXPECT_EQ(read("other/labels.txt"), "mine\n");
  write("file", "x");
  EXPECT_EQ(train("file").code, 5);
}

TEST_F(TrainTest, FilesThatItIsGivenAreNotReplaced) {
  write_csv("faces");
  write_colour_model("colour.json");
  write("mine/validation.csv", read("faces/list.csv"));
  write("mine/config.json", R"({"seed": 3})");
  const std::vector<std::string> command{"train", "--model", "colour.json", "--data", "faces/list.csv",
                                         "--out", "mine",    "--steps",     "1",      "--image-root",
                                         "faces"};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.begin(), command.begin(), command.end());
    return nacre(more);
  };
  for (const char* file : {"validation", "config"}) {
    const std::string path = file == std::string("config") ? "mine/config.json" : "./mine/validation.csv";
    const Outcome refused = with({"--" + std::string(file), path, "--overwrite"});
    expect_one_line(refused, 2,
                    "--" + std::string(file) + ": " + path + " would be replaced by the run in mine; ");
    EXPECT_EQ(with({"--" + std::string(file), path}).code, 2);
    EXPECT_EQ(with({"--" + std::string(file), path, "--resume"}).code, 5);
  }
  // What only has a run's names is taken for no run.
  EXPECT_EQ(with({}).code, 5);
  EXPECT_EQ(with({"--resume"}).code, 5);
  fs::remove(path("mine/config.json"));
  EXPECT_EQ(with({}).code, 5);
  EXPECT_EQ(read("mine/validation.csv"), read("faces/list.csv"));
  // Neither does a run replace the list of what another one held out.
  ASSERT_EQ(nacre({"train", "--model", "colour.json", "--data", "faces/list.csv", "--out", "run", "--steps",
                   "1", "--validation", "0.3"})
                .code,
            0);
  const Outcome again = nacre({"train", "--model", "colour.json", "--data", "faces/list.csv", "--out", "run",
                               "--steps", "1", "--validation", "run/validation.csv", "--overwrite"});
  expect_one_line(again, 2, "--validation: run/validation.csv would be replaced");
}

TEST_F(TrainTest, KeepsTheNewestAndTheBest) {
  ASSERT_EQ(train("run", {"--checkpoint-every", "1", "--keep", "2", "--steps", "9"}).code, 0);
  const auto names = checkpoints("run");
  EXPECT_THAT(names, testing::IsSupersetOf({"step-00000008.ckpt", "step-00000009.ckpt"}));
  const std::string best = fs::read_symlink(path("run/checkpoints/best"));
  EXPECT_TRUE(exists("run/checkpoints/" + best));
  EXPECT_LE(names.size(), 5U);
}

TEST_F(TrainTest, StopsAtTheAccuracyAskedFor) {
  const Outcome outcome =
      train("run", {"--epochs", "200", "--validate-every", "2", "--stop-at-accuracy", "0.9"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("Stopped early"));
  EXPECT_LT(metrics("run").size(), 1200U);
  EXPECT_GE(metrics("run").back().at("validation_accuracy"), 0.9);
}

TEST_F(TrainTest, OddDataIsSurvived) {
  // One class, a batch larger than the data, no validation.
  write("one/train-images-idx3-ubyte", read("idx/train-images-idx3-ubyte"));
  write("one/train-labels-idx1-ubyte", std::string("\0\0\x08\x01\0\0\0\x3c", 8) + std::string(60, '\0'));
  const Outcome outcome = nacre({"train", "--model", "tiny.json", "--data", "one", "--out", "run",
                                 "--batch-size", "1000", "--epochs", "2", "--stop-at-accuracy", "0.5"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("single class"));
  EXPECT_THAT(outcome.err, HasSubstr("no validation data"));
  EXPECT_FALSE(exists("run/checkpoints/best"));
  EXPECT_EQ(metrics("run").size(), 2U);
}

TEST_F(TrainTest, ALossThatIsNotANumberEndsTheRun) {
  const Outcome outcome = train("run", {"--optimizer", "sgd", "--learning-rate", "1e6", "--checkpoint-every",
                                        "1", "--weight-decay", "1e6", "--epochs", "20"});
  EXPECT_EQ(outcome.code, 8) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("step"));
  EXPECT_THAT(outcome.err, HasSubstr("run"));
  // What is there is good.
  if (exists("run/checkpoints/latest")) {
    EXPECT_EQ(nacre({"inspect", "run"}).code, 0);
  }
}

TEST_F(TrainTest, TwoWritersAreKeptApart) {
  Process first(train_arguments("run", {"--epochs", "100000", "--validate-every", "1000000"}), folder_);
  while (first.running() && !exists("run/checkpoints/latest")) usleep(1000);
  for (const std::vector<std::string>& more : {std::vector<std::string>{}, {"--resume"}, {"--overwrite"}}) {
    const Outcome second = train("run", more);
    EXPECT_EQ(second.code, 75) << second.err;
    EXPECT_THAT(second.err, HasSubstr("in use by process"));
  }
  EXPECT_TRUE(first.running());
  first.send(SIGKILL);
}

TEST_F(TrainTest, CsvOfImages) {
  write_csv("faces");
  write_colour_model("colour.json");
  const Outcome outcome =
      nacre({"train", "--model", "colour.json", "--data", "faces/list.csv", "--validation", "faces/list.csv",
             "--out", "run", "--epochs", "3", "--augment", "flip,brightness=0.1"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(read("run/labels.txt"), "upper\nlower\n");
}

TEST_F(TrainTest, BadCsvLinesAreNamedOrSkipped) {
  write_csv("faces");
  write_colour_model("colour.json");
  const std::string good = read("faces/list.csv");
  const auto with = [&](const std::string& list, const std::vector<std::string>& more = {}) {
    write("faces/list.csv", list);
    std::vector<std::string> arguments{"train", "--model", "colour.json", "--data", "faces/list.csv",
                                       "--out", "run",     "--steps",     "1",      "--overwrite"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return nacre(arguments);
  };
  const auto expect = [&](const std::string& list, const std::string& text) {
    const Outcome outcome = with(list);
    EXPECT_EQ(outcome.code, 3) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr("faces/list.csv:13: "));
    EXPECT_THAT(outcome.err, HasSubstr(text));
  };
  expect(good + "missing.png,upper,0\n", "missing.png");
  expect(good + "faces00.png,upper,0\n", "faces00.png");
  expect(good + "faces00.png,upper\n", "3");
  expect(good + std::string("a\0b.png,upper,0\n", 16), "");
  expect(good + std::string(70000, 'x') + ",upper,0\n", "");
  const Outcome skipped = with(good + "missing.png,upper,0\n", {"--skip-bad", "1"});
  EXPECT_EQ(skipped.code, 0) << skipped.err;
  EXPECT_THAT(skipped.err, HasSubstr("left out: faces/list.csv:13: "));
  EXPECT_EQ(with("\xEF\xBB\xBF" + good).code, 0);
  std::string crlf;
  for (const char c : good) crlf += c == '\n' ? "\r\n" : std::string(1, c);
  EXPECT_EQ(with(crlf).code, 0);
  // A validation list with a class that training does not know.
  write("faces/other.csv", "faces00.png,stranger,0\n");
  const Outcome stranger = with(good, {"--validation", "faces/other.csv"});
  EXPECT_EQ(stranger.code, 3);
  EXPECT_THAT(stranger.err, HasSubstr("stranger"));
}

TEST_F(TrainTest, BadIdxFilesAreNamed) {
  const std::string images = read("idx/train-images-idx3-ubyte");
  const std::string labels = read("idx/train-labels-idx1-ubyte");
  const auto expect = [&](const std::string& bad_images, const std::string& bad_labels) {
    write("idx/train-images-idx3-ubyte", bad_images);
    write("idx/train-labels-idx1-ubyte", bad_labels);
    const Outcome outcome = train("run");
    EXPECT_EQ(outcome.code, 3) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr("idx/train-"));
    EXPECT_FALSE(exists("run"));
  };
  expect("\x01" + images.substr(1), labels);
  expect(images.substr(0, images.size() - 1), labels);
  expect(images + "x", labels);
  expect(images.substr(0, 4) + "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff" + images.substr(16),
         labels);
  expect(images, labels.substr(0, 4) + std::string("\0\0\0\x3b", 4) + labels.substr(8, 59));
}

TEST_F(TrainTest, AnImageThatGoesMissingIsNamed) {
  write_csv("faces");
  write_colour_model("colour.json");
  Process process({"train", "--model", "colour.json", "--data", "faces/list.csv", "--out", "run", "--epochs",
                   "1000000", "--batch-size", "2", "--cache-mib", "0", "--checkpoint-every", "1000000"},
                  folder_);
  while (process.running() && !exists("run/metrics.jsonl")) usleep(1000);
  fs::remove(path("faces/faces03.jpg"));
  const Outcome outcome = process.wait();
  EXPECT_EQ(outcome.code, 3) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("faces03.jpg"));
}

TEST_F(TrainTest, ProgressIsPlainWithoutATerminal) {
  const Outcome outcome = train("run");
  ASSERT_EQ(outcome.code, 0);
  EXPECT_THAT(outcome.err, Not(HasSubstr("\x1b")));
  EXPECT_THAT(outcome.err, Not(HasSubstr("\r")));
  EXPECT_THAT(outcome.err, HasSubstr("validation loss"));
}

TEST_F(TrainTest, HelpListsTheOptions) {
  const Outcome outcome = nacre({"train", "--help"});
  EXPECT_EQ(outcome.code, 0);
  EXPECT_THAT(outcome.err, IsEmpty());
  for (const char* option : {"--model", "--data", "--out", "--resume", "--stop-at-accuracy", "--skip-bad"}) {
    EXPECT_THAT(outcome.out, HasSubstr(option));
  }
}

}  // namespace
}  // namespace nacre
