#include <filesystem>
#include <limits>
#include <span>

#include "serialize/bundle_file.h"
#include "serialize/checkpoint_file.h"
#include "serialize/tensorflow/table_reader.h"
#include "serialize/tensorflow/table_writer.h"
#include "tests/cli/convert_fixture.h"

namespace nacre {
namespace {

namespace fs = std::filesystem;

using testing::HasSubstr;
using testing::Not;

TEST_F(ConvertCheckpointTest, ThereAndBackGivesTheSameFile) {
  for (const std::vector<std::string>& optimizer :
       {std::vector<std::string>{"--optimizer", "adam"}, {"--optimizer", "sgd", "--momentum", "0.9"}}) {
    fs::remove_all(path("run"));
    fs::remove_all(path("tf"));
    ASSERT_EQ(train("run", optimizer).code, 0);
    const Outcome there = convert("run", "tf_checkpoint", "tf/model.ckpt-12");
    ASSERT_EQ(there.code, 0) << there.err;
    EXPECT_THAT(there.out, HasSubstr("4 variables, " + std::string(optimizer[1] == "adam" ? "8" : "4") +
                                     " optimizer slots, step 12"));
    EXPECT_EQ(read("tf/checkpoint"),
              "model_checkpoint_path: \"model.ckpt-12\"\nall_model_checkpoint_paths: \"model.ckpt-12\"\n");
    for (const char* in : {"tf/model.ckpt-12", "tf/model.ckpt-12.index", "tf"}) {
      const Outcome back = convert(in, "checkpoint", "back.ckpt", {"--overwrite"});
      ASSERT_EQ(back.code, 0) << back.err;
      EXPECT_EQ(back.err, "");
      EXPECT_EQ(read("back.ckpt"), read("run/checkpoints/latest")) << in;
    }
    // The network may be named, and is checked then.
    const Outcome named = convert("tf", "checkpoint", "named.ckpt", {"--overwrite", "--model", "tiny.json"});
    ASSERT_EQ(named.code, 0) << named.err;
    EXPECT_EQ(read("named.ckpt"), read("run/checkpoints/latest"));
  }
}

TEST_F(ConvertCheckpointTest, ABundleGivesItsWeights) {
  ASSERT_EQ(train("run").code, 0);
  ASSERT_EQ(nacre({"export", "run/checkpoints/latest", "--out", "model.nacre"}).code, 0);
  const Outcome there = convert("model.nacre", "tf_checkpoint", "tf/x");
  ASSERT_EQ(there.code, 0) << there.err;
  EXPECT_THAT(there.out, HasSubstr("4 variables, 0 optimizer slots, step 12"));
  const Outcome back = convert("tf/x", "checkpoint", "back.ckpt");
  ASSERT_EQ(back.code, 0) << back.err;
  const Outcome again = nacre({"export", "back.ckpt", "--model", "tiny.json", "--out", "again.nacre"});
  ASSERT_EQ(again.code, 0) << again.err;
  EXPECT_TRUE(identical("model.nacre", "again.nacre"));
}

TEST_F(ConvertCheckpointTest, LabelsNameTheClassesOfABundleWithoutNames) {
  ASSERT_EQ(train("run").code, 0);
  ASSERT_EQ(nacre({"export", "run", "--out", "named.nacre"}).code, 0);
  auto bundle = read_bundle(path("named.nacre"));
  ASSERT_TRUE(bundle.ok()) << bundle.status().message();
  bundle->contract.labels.clear();
  ASSERT_TRUE(write_bundle(path("model.nacre"), *bundle, {}).ok());
  ASSERT_EQ(convert("model.nacre", "tf_checkpoint", "tf/x").code, 0);
  expect_one_line(convert("tf/x", "checkpoint", "back.ckpt"), 2, "give --labels");
  write("names.txt", "zero\none\ntwo\n");
  const Outcome back = convert("tf/x", "checkpoint", "back.ckpt", {"--labels", "names.txt"});
  ASSERT_EQ(back.code, 0) << back.err;
  const auto checkpoint = read_checkpoint(path("back.ckpt"));
  ASSERT_TRUE(checkpoint.ok());
  EXPECT_EQ(checkpoint->contract.labels, (std::vector<std::string>{"zero", "one", "two"}));
}

TEST_F(ConvertCheckpointTest, WeightsThatAreNotFiniteAreRefused) {
  ASSERT_EQ(train("run").code, 0);
  const std::string file = path("run/checkpoints/latest");
  auto checkpoint = read_checkpoint(file);
  ASSERT_TRUE(checkpoint.ok());
  checkpoint->variables = checkpoint->variables.clone();
  checkpoint->variables.find("conv1/bias")->data()[0] = std::numeric_limits<float>::quiet_NaN();
  ASSERT_TRUE(write_checkpoint(path("nan.ckpt"), *checkpoint, /*overwrite=*/false).ok());
  ASSERT_EQ(convert("nan.ckpt", "tf_checkpoint", "tf/x").code, 0);
  expect_one_line(convert("tf/x", "checkpoint", "back.ckpt"), 8, "tf/x: tensor 'conv1/bias' holds a value");
  EXPECT_FALSE(exists("back.ckpt"));
  expect_one_line(nacre({"verify", "tf"}), 8, "tf/x: tensor 'conv1/bias' holds a value");
  EXPECT_EQ(nacre({"verify", "tf", "--allow-nonfinite"}).code, 0);
  EXPECT_EQ(nacre({"inspect", "tf"}).code, 0);
}

TEST_F(ConvertCheckpointTest, AForeignCheckpointNeedsNetworkAndLabels) {
  ASSERT_EQ(train("run").code, 0);
  write_foreign("run");
  write("names.txt", "zero\none\ntwo\n");
  expect_one_line(convert("foreign/x", "checkpoint", "x.ckpt"), 2, "give --model and --labels");
  expect_one_line(convert("foreign/x", "checkpoint", "x.ckpt", {"--labels", "names.txt"}), 2, "give --model");
  expect_one_line(convert("foreign/x", "checkpoint", "x.ckpt", {"--model", "tiny.json"}), 2, "give --labels");
  const Outcome outcome =
      convert("foreign/x", "checkpoint", "x.ckpt", {"--model", "tiny.json", "--labels", "names.txt"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("not used of the file: more\n"));
  EXPECT_THAT(outcome.err, HasSubstr("passed over in the file: words (string)\n"));
  const auto checkpoint = read_checkpoint(path("x.ckpt"));
  ASSERT_TRUE(checkpoint.ok());
  EXPECT_EQ(checkpoint->state.step, 77U);
  EXPECT_EQ(checkpoint->contract.labels, (std::vector<std::string>{"zero", "one", "two"}));
  EXPECT_EQ(checkpoint->contract.height, 8);
  EXPECT_EQ(checkpoint->variables.size(), 4U);
  EXPECT_EQ(nacre({"export", "x.ckpt", "--model", "tiny.json", "--out", "x.nacre"}).code, 0);
  EXPECT_EQ(nacre({"verify", "x.nacre"}).code, 0);

  // A network of another shape, or number of classes.
  write_model("wide.json", "{}", 5);
  const Outcome wide =
      convert("foreign/x", "checkpoint", "y.ckpt", {"--model", "wide.json", "--labels", "names.txt"});
  expect_one_line(wide, 3, "conv1/bias is [4], expected [5]; ");
  EXPECT_THAT(wide.err, HasSubstr("out/kernel is [64, 3], expected [80, 3]"));
  EXPECT_THAT(wide.err,
              HasSubstr("; what it has beside: more, words (string) (--map FILE can name variables)\n"));
  write("two.txt", "zero\none\n");
  expect_one_line(
      convert("foreign/x", "checkpoint", "y.ckpt", {"--model", "tiny.json", "--labels", "two.txt"}), 3,
      "out/kernel is [64, 3], expected [64, 2]");
  EXPECT_FALSE(exists("y.ckpt"));
}

TEST_F(ConvertCheckpointTest, WhatIsThereIsReplacedOnlyWhenAskedFor) {
  ASSERT_EQ(train("run").code, 0);
  ASSERT_EQ(convert("run", "tf_checkpoint", "tf/x").code, 0);
  expect_one_line(convert("run", "tf_checkpoint", "tf/x"), 5, "tf/x.index: exists already");
  EXPECT_EQ(convert("run", "tf_checkpoint", "tf/x", {"--overwrite"}).code, 0);
  EXPECT_EQ(convert("run", "tf_checkpoint", "tf/y").code, 0);
  EXPECT_THAT(read("tf/checkpoint"), HasSubstr("model_checkpoint_path: \"y\"\n"));
  EXPECT_THAT(read("tf/checkpoint"), HasSubstr("paths: \"x\"\nall_model_checkpoint_paths: \"y\"\n"));
  write("mine.ckpt", "mine");
  EXPECT_EQ(convert("tf/x", "checkpoint", "mine.ckpt").code, 5);
  EXPECT_EQ(read("mine.ckpt"), "mine");
}

TEST_F(ConvertCheckpointTest, OptionsAndInputsThatMeanNothing) {
  ASSERT_EQ(train("run", {"--steps", "1"}).code, 0);
  write("names.txt", "0\n1\n2\n");
  for (const std::vector<std::string>& more : {std::vector<std::string>{"--model", "tiny.json"},
                                               {"--labels", "names.txt"},
                                               {"--compat", "reference"},
                                               {"--default-signature", "float"}}) {
    expect_one_line(convert("run", "tf_checkpoint", "tf/x", more), 2, more[0] + " has no meaning here");
  }
  expect_one_line(convert("run", "tf_checkpoint", "tf/"), 2, "expected a prefix");
  expect_one_line(convert("tiny.json", "tf_checkpoint", "tf/x"), 4, "is JSON text, not a nacre bundle");
  expect_one_line(convert("nowhere", "tf_checkpoint", "tf/x"), 5, "nowhere");
  expect_one_line(convert("run", "tf_chekpoint", "tf/x"), 2,
                  "known are saved_model, tf_checkpoint, checkpoint");
  EXPECT_FALSE(exists("tf"));

  expect_one_line(convert("run", "checkpoint", "x.ckpt"), 6, "is a nacre checkpoint; expected the prefix");
  expect_one_line(convert("nowhere", "checkpoint", "x.ckpt"), 5, "nowhere");
  expect_one_line(convert("idx", "checkpoint", "x.ckpt"), 3, "idx: is a folder");
  expect_one_line(convert("tiny.json", "checkpoint", "x.ckpt"), 6, "is no TensorFlow checkpoint");
  ASSERT_EQ(convert("run", "tf_checkpoint", "tf/x").code, 0);
  write("two.txt", "zero\none\n");
  expect_one_line(convert("tf/x", "checkpoint", "x.ckpt", {"--labels", "two.txt"}), 3,
                  "has 3 classes; --labels names 2");
  expect_one_line(convert("tf/x", "checkpoint", "x.ckpt", {"--model", "face96"}), 3,
                  "takes images of 8x8x1, the network of 96x96x3");
  EXPECT_FALSE(exists("x.ckpt"));
  // Other names for the same classes.
  ASSERT_EQ(convert("tf/x", "checkpoint", "x.ckpt", {"--labels", "names.txt"}).code, 0);
}

TEST_F(ConvertCheckpointTest, TrainingStartsFromIt) {
  ASSERT_EQ(train("run").code, 0);
  ASSERT_EQ(convert("run", "tf_checkpoint", "tf/x").code, 0);
  ASSERT_EQ(train("own", {"--steps", "3", "--init-from", "run/checkpoints/latest"}).code, 0);
  for (const std::string from : {"tf/x", "tf", "tf/x.index"}) {
    const Outcome outcome = train("theirs", {"--steps", "3", "--init-from", from, "--overwrite"});
    ASSERT_EQ(outcome.code, 0) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr("starting from tf/x: 4 of 4 variables taken"));
    EXPECT_THAT(outcome.err, Not(HasSubstr("not used")));
    EXPECT_TRUE(identical("own", "theirs"));
  }
}

TEST_F(ConvertCheckpointTest, TrainingStartsFromForeignOnes) {
  ASSERT_EQ(train("run").code, 0);
  ASSERT_EQ(train("own", {"--steps", "3", "--init-from", "run/checkpoints/latest"}).code, 0);
  write_foreign("run", [](const std::string& name) { return "scope/" + name; });
  write("map.json", R"({"conv1/kernel": "scope/conv1/kernel", "conv1/bias": "scope/conv1/bias",
                        "out/kernel": "scope/out/kernel", "out/bias": "scope/out/bias"})");
  const Outcome outcome = train("theirs", {"--steps", "3", "--init-from", "foreign/x", "--map", "map.json"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("not used of the file: more, words (string)\n"));
  EXPECT_TRUE(identical("own", "theirs"));
  // The map stands in config.json, and holds for a run that is made of it.
  ASSERT_EQ(nacre({"train", "--config", "theirs/config.json", "--out", "again"}).code, 0);
  EXPECT_TRUE(identical("own", "again"));

  // A file that does not say its classes: a head of their number is taken, another one starts anew.
  write_foreign("run");
  EXPECT_THAT(train("same", {"--steps", "1", "--init-from", "foreign/x"}).err,
              HasSubstr("4 of 4 variables taken"));
  write_foreign("run", [](const std::string& name) { return name == "conv1/bias" ? "conv1/offset" : name; });
  const Outcome lacking = train("lacking", {"--steps", "1", "--init-from", "foreign/x"});
  EXPECT_EQ(lacking.code, 0) << lacking.err;
  EXPECT_THAT(lacking.err, HasSubstr("started anew, for the file lacks them: conv1/bias\n"));
  EXPECT_THAT(lacking.err, HasSubstr("not used of the file: conv1/offset, more, words (string)\n"));

  EXPECT_EQ(train("bad", {"--map", "map.json"}).code, 2);
  EXPECT_EQ(train("bad", {"--init-from", "run", "--map", "map.json"}).code, 2);
  write("map.json", R"({"conv1/kernle": "scope/conv1/kernel"})");
  const Outcome typo = train("bad", {"--init-from", "foreign/x", "--map", "map.json"});
  EXPECT_EQ(typo.code, 3);
  EXPECT_THAT(typo.err,
              HasSubstr("conv1/kernle is none of nacre's names here; known are conv1/bias, conv1/kernel"));
  EXPECT_FALSE(exists("bad/checkpoints/latest"));
}

/// Items 37 to 41 of the list of hostile inputs, as the commands meet them.
TEST_F(ConvertCheckpointTest, HostileCheckpoints) {
  ASSERT_EQ(train("run", {"--steps", "1"}).code, 0);
  const auto fresh = [&] {
    fs::remove_all(path("tf"));
    EXPECT_EQ(convert("run", "tf_checkpoint", "tf/x").code, 0);
  };
  const auto refused = [&](int code, const std::string& reason) {
    expect_one_line(convert("tf/x", "checkpoint", "x.ckpt"), code, reason);
    const Outcome start = train("bad", {"--steps", "1", "--init-from", "tf/x"});
    EXPECT_EQ(start.code, code) << start.err;
    EXPECT_THAT(start.err, HasSubstr(reason));
  };
  const std::string index = "tf/x.index";
  const std::string shard = "tf/x.data-00000-of-00001";
  fresh();
  write(shard, read(shard).substr(0, 100));
  refused(4, shard + ": has 100 bytes; tensor \"");
  fresh();
  write(shard, read(shard) + '\0');
  refused(4, shard + ": has 1 bytes after its last tensor");
  fresh();
  write(index, read(index) + '\0');
  refused(4, index + ": does not end with a table's magic number");
  fresh();
  std::string damaged = read(index);
  damaged[10] = static_cast<char>(damaged[10] ^ 1);
  write(index, damaged);
  refused(4, index + ": block at 0 is damaged");
  // What nobody's checksum tells: another header, an index at the end of the world.
  const auto with_header = [&](std::string_view header) {
    fresh();
    const auto entries = parse_table(read(index));
    ASSERT_TRUE(entries.ok());
    TableWriter writer;
    ASSERT_TRUE(writer.add("", header).ok());
    for (const TableEntry& entry : std::span(*entries).subspan(1)) {
      ASSERT_TRUE(writer.add(entry.key, entry.value).ok());
    }
    write(index, writer.finish());
  };
  with_header("\x08\x01\x10\x01\x1a\x02\x08\x01");
  refused(6, index + ": holds big-endian data");
  with_header("\x08\x01\x1a\x04\x08\x02\x10\x02");
  refused(6, index + ": has version 2 of the tensor bundle format, for readers of version 2 and up");
  with_header("\x08\x02\x1a\x02\x08\x01");
  refused(4, "tf/x.data-00000-of-00002: is not there");
  fresh();
  std::string far = read(index);
  far.replace(far.size() - 48, 11, std::string("\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11));
  write(index, far);
  refused(4, index + ": ");
  fresh();
  fs::remove(path(shard));
  refused(4, shard + ": is not there");
  fresh();
  fs::rename(path(shard), path("outside"));
  fs::create_symlink("../outside", path(shard));
  refused(4, shard + ": is a link that leads out of its folder");
  fs::remove(path(shard));
  fs::create_hard_link(path("outside"), path(shard));
  refused(4, shard + ": is a hard link to a file outside its folder");
  EXPECT_FALSE(exists("x.ckpt"));
  EXPECT_FALSE(exists("bad/checkpoints/latest"));
}

}  // namespace
}  // namespace nacre
