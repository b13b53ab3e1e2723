// --map, and what is said where variables differ.
#include "serialize/checkpoint_file.h"
#include "serialize/tensorflow/tensor_bundle_reader.h"
#include "tests/cli/convert_fixture.h"

namespace nacre {
namespace {

using testing::HasSubstr;

class ConvertMapTest : public ConvertCheckpointTest {};

TEST_F(ConvertMapTest, AMapNamesForeignVariables) {
  ASSERT_EQ(train("run", {"--optimizer", "sgd", "--momentum", "0.5"}).code, 0);
  // The slot has the foreign name too, as TensorFlow gives it.
  write_foreign("run", [](const std::string& name) -> std::string {
    if (name == "conv1/kernel") return "conv_1/Variable";
    if (name == "conv1/bias") return "conv_1/Variable_1";
    if (name == "conv1/kernel/momentum") return "conv_1/Variable/Momentum";
    if (name == "conv1/bias/momentum") return "conv_1/Variable_1/Momentum";
    if (name.ends_with("/momentum")) return name.substr(0, name.size() - 8) + "Momentum";
    return name;
  });
  write("names.txt", "0\n1\n2\n");
  const auto with_map = [&](const std::string& map) {
    write("map.json", map);
    return convert("foreign/x", "checkpoint", "x.ckpt",
                   {"--model", "tiny.json", "--labels", "names.txt", "--map", "map.json", "--overwrite"});
  };
  const std::string good = R"({"conv1/kernel": "conv_1/Variable", "conv1/bias": "conv_1/Variable_1"})";
  const Outcome outcome = with_map(good);
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_TRUE(identical("x.ckpt", "run"));

  const Outcome missing = with_map(R"({"conv1/kernel": "conv_1/Variable"})");
  EXPECT_EQ(missing.code, 3);
  EXPECT_THAT(missing.err, HasSubstr("foreign/x: lacks conv1/bias; what it has beside: conv_1/Variable_1"));
  expect_one_line(with_map(R"({"conv9/kernel": "conv_1/Variable"})"), 3,
                  "map.json: conv9/kernel is none of nacre's names here; known are conv1/bias, ");
  expect_one_line(
      with_map(R"({"conv1/kernel": "conv_1/W"})"), 3,
      "foreign/x: has no tensor \"conv_1/W\", which conv1/kernel is mapped to; it has conv_1/Variable, ");
  expect_one_line(with_map(R"({"conv1/kernel": "a", "conv1/bias": "a"})"), 3, "are both mapped to a");
  expect_one_line(with_map(R"({"conv1/kernel": 1})"), 3,
                  "map.json: conv1/kernel: expected the name of a tensor");
  expect_one_line(with_map("[]"), 3, "map.json: expected an object");
  expect_one_line(with_map("{"), 3, "map.json: ");
  expect_one_line(
      convert("foreign/x", "checkpoint", "y.ckpt", {"--map", "nowhere.json", "--model", "tiny.json"}), 5,
      "nowhere.json");

  // And out again.
  write("map.json", good);
  ASSERT_EQ(convert("run", "tf_checkpoint", "tf/x", {"--map", "map.json"}).code, 0);
  const auto bundle = TensorBundle::open({path("tf/x")});
  ASSERT_TRUE(bundle.ok());
  EXPECT_TRUE(bundle->tensors().contains("conv_1/Variable_1/Momentum"));
  EXPECT_FALSE(bundle->tensors().contains("conv1/kernel"));
  expect_one_line(convert("tf/x", "checkpoint", "back.ckpt", {"--map", "map.json"}), 2,
                  "--map needs --model");
  ASSERT_EQ(convert("tf/x", "checkpoint", "back.ckpt", {"--map", "map.json", "--model", "tiny.json"}).code,
            0);
  EXPECT_EQ(read("back.ckpt"), read("run/checkpoints/latest"));
  write("map.json", R"({"conv1/weights": "x"})");
  expect_one_line(convert("run", "tf_checkpoint", "tf/y", {"--map", "map.json"}), 3,
                  "conv1/weights is none of nacre's names here");
}

/// One map does for all three ways, with slots and the step in it.
TEST_F(ConvertMapTest, AMapNamesSlotsAndTheStepEverywhere) {
  ASSERT_EQ(train("run").code, 0);
  write("map.json", R"({"conv1/kernel": "a", "conv1/kernel/adam_m": "b", "global_step": "c"})");
  const std::vector<std::string> with_map{"--map", "map.json"};
  ASSERT_EQ(convert("run", "tf_checkpoint", "tf/x", with_map).code, 0);
  const auto bundle = TensorBundle::open({path("tf/x")});
  ASSERT_TRUE(bundle.ok());
  for (const char* name : {"a", "b", "a/Adam_1"}) EXPECT_TRUE(bundle->tensors().contains(name)) << name;
  EXPECT_EQ(bundle->integer("c").value(), 12);
  ASSERT_EQ(convert("tf", "checkpoint", "back.ckpt", {"--map", "map.json", "--model", "tiny.json"}).code, 0);
  EXPECT_EQ(read("back.ckpt"), read("run/checkpoints/latest"));
  const Outcome start = train("next", {"--steps", "1", "--init-from", "tf", "--map", "map.json"});
  ASSERT_EQ(start.code, 0) << start.err;
  EXPECT_THAT(start.err, HasSubstr("4 of 4 variables taken"));
}

/// What is missing, extra and of another shape, and nothing twice; the same for both commands.
TEST_F(ConvertMapTest, DifferencesAreListedOnce) {
  ASSERT_EQ(train("run").code, 0);  // with Adam's slots
  ASSERT_EQ(convert("run", "tf_checkpoint", "tf/x").code, 0);
  write_model("wide.json", "{}", 5);
  const std::string shapes =
      "conv1/kernel is [3, 3, 1, 4], expected [3, 3, 1, 5]; conv1/bias is [4], expected [5]; out/kernel is "
      "[64, 3], expected [80, 3]";
  expect_one_line(convert("tf/x", "checkpoint", "x.ckpt", {"--model", "wide.json"}), 3,
                  "tf/x: " + shapes + " (--map FILE can name variables)\n");
  const auto start = [&](const std::string& from) {
    return nacre({"train", "--model", "wide.json", "--data", "idx", "--out", "bad", "--steps", "1",
                  "--init-from", from});
  };
  const Outcome started = start("tf/x");
  EXPECT_EQ(started.code, 3);
  EXPECT_THAT(started.err,
              HasSubstr("tf/x: cannot start from it: " + shapes + " (--map FILE can name variables)\n"));
  EXPECT_THAT(start("run").err, HasSubstr("cannot start from it: " + shapes + "\n"));

  ASSERT_EQ(train("sgd", {"--optimizer", "sgd", "--momentum", "0.5"}).code, 0);
  write_foreign("sgd", [](const std::string& name) -> std::string {
    return name.starts_with("conv1/bias") ? "conv1/offset" + name.substr(10) : name;
  });
  write("names.txt", "zero\none\ntwo\n");
  const std::string all =
      "lacks conv1/bias; conv1/kernel is [3, 3, 1, 4], expected [3, 3, 1, 5]; out/kernel is [64, 3], "
      "expected "
      "[80, 3]; what it has beside: conv1/offset, more, words (string) (--map FILE can name variables)\n";
  expect_one_line(
      convert("foreign/x", "checkpoint", "x.ckpt", {"--model", "wide.json", "--labels", "names.txt"}), 3,
      "foreign/x: " + all);
  // To training the head is another one, which starts anew.
  EXPECT_THAT(
      start("foreign/x").err,
      HasSubstr("foreign/x: cannot start from it: lacks conv1/bias; conv1/kernel is [3, 3, 1, 4], expected "
                "[3, 3, 1, 5]; what it has beside: conv1/offset, more, words (string) (--map"));
}

TEST_F(ConvertMapTest, PartitionedVariablesOfForeignNames) {
  write("rows.json", R"({"name": "rows", "input": {"height": 7, "width": 1, "channels": 1}, "layers": [
    {"op": "Flatten"}, {"op": "Dense", "name": "out", "units": "classes", "use_bias": false}]})");
  write("names.txt", "a\nb\nc\n");
  write("map.json", R"({"out/kernel": "rows"})");
  const Outcome outcome =
      convert(NACRE_SOURCE_DIR "/tests/tensorflow/fixtures/sharded", "checkpoint", "x.ckpt",
              {"--model", "rows.json", "--labels", "names.txt", "--map", "map.json"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const auto checkpoint = read_checkpoint(path("x.ckpt"));
  ASSERT_TRUE(checkpoint.ok());
  EXPECT_EQ(checkpoint->variables.size(), 1U);
  const Tensor* kernel = checkpoint->variables.find("out/kernel");
  ASSERT_NE(kernel, nullptr);
  ASSERT_EQ(kernel->shape(), (Shape{7, 3}));
  for (int64_t i = 0; i < kernel->size(); ++i) EXPECT_EQ(kernel->data()[i], static_cast<float>(i) / 8) << i;
}

}  // namespace
}  // namespace nacre
