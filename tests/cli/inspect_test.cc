#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/cli/run_fixture.h"

namespace nacre {
namespace {

using nlohmann::json;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;

/// What the commands say of a run, its checkpoint and its bundle.
class ModelCommands : public RunTest {
 protected:
  void SetUp() override {
    RunTest::SetUp();
    ASSERT_EQ(train("run", {"--seed", "1"}).code, 0);
    ASSERT_EQ(nacre({"export", "run", "--out", "m.nacre"}).code, 0);
  }
  [[nodiscard]] json json_of(const std::vector<std::string>& arguments) const {
    const Outcome outcome = nacre(arguments);
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return json::parse(outcome.out, nullptr, false);
  }
};

TEST_F(ModelCommands, InspectShowsABundle) {
  const json said = json_of({"inspect", "m.nacre", "--json"});
  EXPECT_EQ(said["kind"], "bundle");
  EXPECT_EQ(said["labels"].size(), 3U);
  EXPECT_EQ(said["signatures"][0]["name"], "serving_default");
  EXPECT_TRUE(said["provenance"].contains("nacre_version"));
  ASSERT_FALSE(said["layers"].empty());
  EXPECT_EQ(said["layers"][0]["name"], "conv1");
  EXPECT_EQ(said["layers"][0]["op"], "Conv2D");
  EXPECT_EQ(said["layers"][0]["output_shape"], json({8, 8, 4}));
  EXPECT_EQ(said["layers"][0]["inputs"], json({"input"}));
  EXPECT_EQ(said["layers"][0]["attributes"]["filters"], 4);
  EXPECT_EQ(said["layers"][0]["attributes"]["padding"], "same");
  EXPECT_EQ(said["layers"][0]["parameters"], 40);
  EXPECT_EQ(said["layers"].back()["name"], "prediction");
  EXPECT_EQ(said["variables"].size(), 4U);
  const std::string text = nacre({"inspect", "m.nacre"}).out;
  for (const std::string& line : lines_of(text)) EXPECT_LE(line.size(), 110U) << line;
  EXPECT_THAT(text, HasSubstr("conv1"));
  EXPECT_THAT(text, HasSubstr("MFLOP"));
}

TEST_F(ModelCommands, InspectShowsACheckpoint) {
  const json in_run = json_of({"inspect", "run", "--json"});
  EXPECT_EQ(in_run["kind"], "checkpoint");
  EXPECT_EQ(in_run["state"]["seed"], 1);
  EXPECT_TRUE(in_run["recipe"].is_object());
  EXPECT_EQ(in_run["layers"].back()["name"], "out");
  const std::string text = nacre({"inspect", "run"}).out;
  EXPECT_THAT(text,
              ContainsRegex("step [0-9]+, [12] epochs? done, seed 1, best validation accuracy [0-9.]+%"));
  EXPECT_THAT(text, HasSubstr("\nrecipe:\n  skip-bad 0, exif-orient false, "));
  EXPECT_THAT(text, HasSubstr(" batch-size 10, optimizer adam, "));
  std::filesystem::copy_file(path("run/checkpoints/latest"), path("alone.ckpt"));
  const json alone = json_of({"inspect", "alone.ckpt", "--json"});
  EXPECT_TRUE(alone["layers"].empty());
  EXPECT_EQ(alone["variables"], in_run["variables"]);
  const json with_model = json_of({"inspect", "alone.ckpt", "--model", "tiny.json", "--json"});
  EXPECT_EQ(with_model["layers"], in_run["layers"]);
}

TEST_F(ModelCommands, ACheckpointOfAnotherNetworkIsRefused) {
  write_model("wide.json", "{}", 7);
  const Outcome outcome = nacre({"inspect", "run", "--model", "wide.json"});
  EXPECT_EQ(outcome.code, 3);
  EXPECT_THAT(outcome.err, HasSubstr("conv1/"));
}

TEST_F(ModelCommands, VerifyReplaysGoldenVectors) {
  const json said = json_of({"verify", "m.nacre", "--json"});
  EXPECT_EQ(said["kind"], "bundle");
  EXPECT_GT(said["golden_vectors"], 0);
  EXPECT_LE(said["golden_max_difference"], 1e-5);
  EXPECT_EQ(json_of({"verify", "run", "--json"})["kind"], "checkpoint");
  EXPECT_THAT(nacre({"verify", "m.nacre"}).out, HasSubstr("golden vectors replayed"));
}

TEST_F(ModelCommands, VerifyNoticesAFlippedBit) {
  std::string bytes = read("m.nacre");
  // The last byte belongs to the digest of the whole, which loading does not check.
  for (const size_t at : {size_t{20}, bytes.size() / 2, bytes.size() - 1}) {
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ 1);
    write("bad.nacre", damaged);
    const Outcome outcome = nacre({"verify", "bad.nacre"});
    EXPECT_EQ(outcome.code, 4) << at << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr("bad.nacre"));
  }
}

TEST_F(ModelCommands, DiffTellsEqualFromUnequal) {
  const json same = json_of({"diff", "run", "run/checkpoints/latest", "--json"});
  EXPECT_EQ(same["identical"], true);
  EXPECT_GT(same["variables"].size(), 4U) << "slots count too";
  ASSERT_EQ(train("other", {"--seed", "2"}).code, 0);
  const json other = json_of({"diff", "run", "other", "--json"});
  EXPECT_EQ(other["identical"], false);
  for (const json& variable : other["variables"]) {
    if (variable["name"] != "conv1/kernel") continue;
    EXPECT_EQ(variable["status"], "different");
    EXPECT_GT(variable["max_abs"], 0.0);
    EXPECT_GT(variable["relative_l2"], 0.0);
  }
  const json bundle = json_of({"diff", "run", "m.nacre", "--json"});
  EXPECT_EQ(bundle["identical"], false) << "a bundle has no slots";
  EXPECT_THAT(nacre({"diff", "run", "m.nacre"}).out, HasSubstr("only in A"));
  EXPECT_EQ(nacre({"diff", "run", "run"}).out.substr(0, 9), "identical");
}

TEST_F(ModelCommands, BenchOfFiles) {
  const json infer = json_of({"bench", "infer", "m.nacre", "--steps", "2", "--batch-size", "3", "--json"});
  EXPECT_GT(infer["latency_ms_min"], 0.0);
  EXPECT_GE(infer["latency_ms_median"], infer["latency_ms_min"]);
  EXPECT_GT(infer["images_per_second"], 0.0);
  const json load = json_of({"bench", "load", "m.nacre", "--steps", "2", "--json"});
  EXPECT_GT(load["load_ms_min"], 0.0);
}

class Models : public RunTest {};

TEST_F(Models, BenchOfModels) {
  const Outcome train = nacre({"bench", "train", "--model", "tiny.json", "--steps", "2", "--batch-size", "4",
                               "--optimizer", "sgd", "--threads", "2", "--json"});
  ASSERT_EQ(train.code, 0) << train.err;
  const json said = json::parse(train.out);
  EXPECT_GT(said["step_ms_min"], 0.0);
  EXPECT_GE(said["step_ms_median"], said["step_ms_min"]);
  EXPECT_GT(said["images_per_second"], 0.0);
  EXPECT_EQ(nacre({"bench", "infer", "--model=tiny.json", "--steps=1", "--classes=9"}).code, 0);
}

TEST_F(Models, BenchSaysWhereTheTimeGoes) {
  const auto json_of = [this](const std::vector<std::string>& arguments) {
    const Outcome outcome = nacre(arguments);
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return json::parse(outcome.out);
  };
  const json train =
      json_of({"bench", "train", "--model=tiny.json", "--steps=2", "--batch-size=4", "--profile", "--json"});
  ASSERT_FALSE(train["units"].empty());
  EXPECT_GT(train["units"][0]["forward_ms"], 0.0);
  EXPECT_GT(train["units"][0]["forward_gflops"], 0.0);
  EXPECT_GT(train["units"][0]["backward_ms"], 0.0);
  EXPECT_GT(train["units"][0]["backward_gflops"], 0.0);
  const double peak = train["peak_gflops"];
  EXPECT_GT(peak, 0.0);
  EXPECT_DOUBLE_EQ(train["units"][0]["forward_peak"],
                   train["units"][0]["forward_gflops"].get<double>() / peak);
  EXPECT_DOUBLE_EQ(train["units"][0]["backward_peak"],
                   train["units"][0]["backward_gflops"].get<double>() / peak);
  const json infer = json_of({"bench", "infer", "--model=tiny.json", "--steps=2", "--profile", "--json"});
  EXPECT_GT(infer["units"][0]["forward_ms"], 0.0);
  EXPECT_TRUE(infer["units"][0]["backward_ms"].is_null());
  EXPECT_TRUE(infer["units"][0]["backward_peak"].is_null());
  const std::string text = nacre({"bench", "infer", "--model=tiny.json", "--steps=2", "--profile"}).out;
  EXPECT_THAT(text, HasSubstr(infer["units"][0]["unit"].get<std::string>()));
  EXPECT_THAT(text, HasSubstr("GFLOP/s"));
}

TEST_F(Models, BenchTrainsByTheRecipe) {
  const auto bench = [this](const std::string& recipe) {
    write("model.json",
          R"({"name": "m", "input": {"height": 6, "width": 6, "channels": 1}, "layers": [)"
          R"({"op": "Conv2D", "filters": 4, "kernel_size": 3, "activation": "relu"}, {"op": "Flatten"},)"
          R"({"op": "Dense", "units": "classes"}], "recipe": )" +
              recipe + "}");
    return nacre(
        {"bench", "train", "--model=model.json", "--steps=3", "--batch-size=4", "--recipe", "--json"});
  };
  const auto live_of = [](const Outcome& outcome) {
    return json::parse(outcome.out)["live_cells"].get<double>();
  };
  const Outcome still = bench(R"({"optimizer": "sgd", "learning-rate": 0})");
  ASSERT_EQ(still.code, 0) << still.err;
  EXPECT_GT(live_of(still), 0.0);
  EXPECT_LT(live_of(still), 1.0);
  const Outcome wild = bench(R"({"optimizer": "sgd", "learning-rate": 10})");
  ASSERT_EQ(wild.code, 0) << wild.err;
  EXPECT_NE(live_of(wild), live_of(still)) << "the recipe's rate has moved the weights";
  EXPECT_EQ(bench(R"({"optimiser": "sgd"})").code, 3);
  EXPECT_EQ(nacre({"bench", "train", "--model=model.json", "--recipe", "--optimizer=sgd"}).code, 2);
}

TEST_F(Models, BenchCountsNoCellsWhereNothingClips) {
  write("model.json", R"({"name": "m", "input": {"height": 4, "width": 4, "channels": 1}, "layers": [)"
                      R"({"op": "Conv2D", "filters": 4, "kernel_size": 3}, {"op": "Flatten"},)"
                      R"({"op": "Dense", "units": "classes"}]})");
  const Outcome train =
      nacre({"bench", "train", "--model=model.json", "--steps=1", "--batch-size=4", "--json"});
  ASSERT_EQ(train.code, 0) << train.err;
  EXPECT_FALSE(json::parse(train.out).contains("live_cells"));
}

TEST_F(Models, PresetsAreListedAndPrinted) {
  const Outcome list = nacre({"models"});
  EXPECT_THAT(list.out, HasSubstr("face96"));
  EXPECT_THAT(list.out, HasSubstr("fashion28"));
  const Outcome printed = nacre({"models", "fashion28"});
  ASSERT_EQ(printed.code, 0) << printed.err;
  write("printed.json", printed.out);
  EXPECT_EQ(nacre({"models", "printed.json"}).out, printed.out);
  EXPECT_EQ(json::parse(printed.out)["name"], "fashion28");
  const Outcome none = nacre({"models", "face97"});
  EXPECT_EQ(none.code, 2);
  EXPECT_THAT(none.err, HasSubstr("face96, fashion28"));
}

}  // namespace
}  // namespace nacre
