#include "serialize/tensorflow/tensor_bundle_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <filesystem>

#include "serialize/tensorflow/tensor_bundle_writer.h"
#include "tests/serialize/test_files.h"

namespace nacre {
namespace {

namespace fs = std::filesystem;

using testing::HasSubstr;

const std::string kFixtures = std::string(NACRE_SOURCE_DIR) + "/tests/tensorflow/fixtures/";

/// The fixtures' float tensors: element i is i / 8.
void expect_ramp(const TensorBundle& bundle, const std::string& name, const Shape& shape) {
  ASSERT_TRUE(bundle.tensors().contains(name)) << name;
  const auto tensor = bundle.floats(name);
  ASSERT_TRUE(tensor.ok()) << tensor.status().message();
  ASSERT_EQ(tensor->shape(), shape) << name;
  for (int64_t i = 0; i < tensor->size(); ++i) {
    ASSERT_EQ(tensor->data()[i], static_cast<float>(i) / 8) << name << " " << i;
  }
}

TEST(TensorBundle, ReadsTensorFlowsShardsAndPartitionedVariables) {
  const auto bundle = TensorBundle::open({kFixtures + "sharded"});
  ASSERT_TRUE(bundle.ok()) << bundle.status().message();
  std::vector<std::string> names;
  for (const auto& [name, tensor] : bundle->tensors()) names.push_back(name);
  EXPECT_EQ(names, (std::vector<std::string>{"columns", "count", "double", "empty", "flags", "global_step",
                                             "kernel", "rows", "scalar", "words"}));
  EXPECT_EQ(bundle->tensors().find("rows")->second.parts.size(), 3U);
  expect_ramp(*bundle, "rows", {7, 3});
  EXPECT_EQ(bundle->tensors().find("columns")->second.parts.size(), 2U);
  expect_ramp(*bundle, "columns", {2, 130});
  expect_ramp(*bundle, "kernel", {2, 1, 4});
  expect_ramp(*bundle, "empty", {0, 5});
  EXPECT_EQ(bundle->floats("scalar")->data()[0], 0.25F);
  EXPECT_EQ(bundle->integer("global_step").value(), 1234567890123);
  EXPECT_EQ(bundle->integer("count").value(), -7);
}

TEST(TensorBundle, ReadsAnObjectBasedCheckpoint) {
  const auto bundle = TensorBundle::open({kFixtures + "objects"});
  ASSERT_TRUE(bundle.ok()) << bundle.status().message();
  EXPECT_EQ(bundle->tensors().size(), 4U);
  expect_ramp(*bundle, "out/kernel/.ATTRIBUTES/VARIABLE_VALUE", {3, 2});
  EXPECT_EQ(bundle->integer("step/.ATTRIBUTES/VARIABLE_VALUE").value(), 5);
  EXPECT_THAT(bundle->text("_CHECKPOINTABLE_OBJECT_GRAPH").value(), HasSubstr("VARIABLE_VALUE"));
}

TEST(TensorBundle, TypesThatAreNotAskedForAreNamed) {
  const auto bundle = TensorBundle::open({kFixtures + "sharded"});
  ASSERT_TRUE(bundle.ok());
  const auto expect = [](const Status& status, const std::string& message) {
    EXPECT_EQ(status.code(), StatusCode::kUnsupported);
    EXPECT_EQ(status.message(), message);
  };
  expect(bundle->floats("double").status(), "tensor \"double\" is float64; expected float32");
  expect(bundle->floats("words").status(), "tensor \"words\" is string; expected float32");
  expect(bundle->integer("flags").status(),
         "tensor \"flags\" is bool [2]; expected a scalar of int32 or int64");
  expect(bundle->integer("scalar").status(),
         "tensor \"scalar\" is float32 []; expected a scalar of int32 or int64");
  expect(bundle->text("words").status(), "tensor \"words\" is string [3]; expected a scalar of strings");
}

TEST(TensorBundle, WhatNacreWritesComesBackToTheBit) {
  const TempFolder folder;
  const Checkpoint checkpoint = sample_checkpoint();
  std::vector<BundleItem> items{{"step", std::numeric_limits<int64_t>::min()},
                                {"text", std::string("with\0 NUL \xff", 11)},
                                {"long", std::string(70000, 'l')},
                                {"none", std::string()}};
  for (const auto& [name, tensor] : checkpoint.variables.tensors()) items.push_back({name, tensor.view()});
  const Status written = write_tensor_bundle(folder.file("x"), items, false);
  ASSERT_TRUE(written.ok()) << written.message();
  const auto bundle = TensorBundle::open({folder.file("x")});
  ASSERT_TRUE(bundle.ok()) << bundle.status().message();
  EXPECT_EQ(bundle->tensors().size(), items.size());
  VariableStore store;
  for (const auto& [name, tensor] : bundle->tensors()) {
    if (tensor.type != BundleType::kFloat32) continue;
    auto read = bundle->floats(name);
    ASSERT_TRUE(read.ok());
    ASSERT_TRUE(store.add(name, std::move(read).value()).ok());
  }
  EXPECT_TRUE(same_bits(store, checkpoint.variables));
  EXPECT_EQ(bundle->integer("step").value(), std::numeric_limits<int64_t>::min());
  EXPECT_EQ(bundle->text("text").value(), std::string("with\0 NUL \xff", 11));
  EXPECT_EQ(bundle->text("long").value(), std::string(70000, 'l'));
  EXPECT_EQ(bundle->text("none").value(), "");
}

/// A bundle's files in memory.
struct Files {
  std::string index;
  std::vector<std::string> shards;

  [[nodiscard]] Status read() const {
    std::vector<FileBytes> files;
    files.reserve(shards.size());
    for (const std::string& shard : shards) files.push_back(aligned(bytes_of(shard)));
    return TensorBundle::parse(index, std::move(files)).status();
  }
};

Files fixture(const std::string& name, int shards) {
  Files files{read_text(kFixtures + name + ".index"), {}};
  for (int i = 0; i < shards; ++i) {
    files.shards.push_back(
        read_text(kFixtures + name + ".data-0000" + std::to_string(i) + "-of-0000" + std::to_string(shards)));
  }
  return files;
}

std::string flipped(std::string bytes, size_t bit) {
  bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << bit % 8));
  return bytes;
}

TEST(DamagedTensorBundle, EveryFlippedBitIsFound) {
  for (const Files& good : {fixture("sharded", 2), fixture("objects", 1)}) {
    ASSERT_TRUE(good.read().ok()) << good.read().message();
    Files bad = good;
    for (size_t bit = 0; bit < 8 * good.index.size(); ++bit) {
      bad.index = flipped(good.index, bit);
      ASSERT_EQ(bad.read().code(), StatusCode::kCorrupt) << "index, bit " << bit;
    }
    bad = good;
    for (size_t i = 0; i < good.shards.size(); ++i) {
      for (size_t bit = 0; bit < 8 * good.shards[i].size(); ++bit) {
        bad.shards[i] = flipped(good.shards[i], bit);
        ASSERT_EQ(bad.read().code(), StatusCode::kCorrupt) << "shard " << i << " bit " << bit;
      }
      bad.shards[i] = good.shards[i];
    }
  }
}

TEST(DamagedTensorBundle, EveryTruncationAndTrailingBytesAreFound) {
  for (const Files& good : {fixture("sharded", 2), fixture("objects", 1)}) {
    Files bad = good;
    for (size_t size = 0; size < good.index.size(); ++size) {
      bad.index = good.index.substr(0, size);
      ASSERT_EQ(bad.read().code(), StatusCode::kCorrupt) << "index of " << size;
    }
    bad.index = good.index + '\0';
    EXPECT_EQ(bad.read().code(), StatusCode::kCorrupt);
    bad = good;
    for (size_t i = 0; i < good.shards.size(); ++i) {
      for (size_t size = 0; size < good.shards[i].size(); ++size) {
        bad.shards[i] = good.shards[i].substr(0, size);
        ASSERT_EQ(bad.read().code(), StatusCode::kCorrupt) << "shard " << i << " of " << size;
      }
      for (const size_t more : {1, 4, 5000}) {
        bad.shards[i] = good.shards[i] + std::string(more, '\0');
        EXPECT_EQ(bad.read().code(), StatusCode::kCorrupt);
        EXPECT_THAT(bad.read().message(), HasSubstr(std::to_string(more) + " bytes after its last tensor"));
      }
      bad.shards[i] = good.shards[i];
    }
    bad.shards.pop_back();
    EXPECT_EQ(bad.read().code(), StatusCode::kCorrupt);
  }
}

/// A folder with a bundle of two shards.
class BundleFolderTest : public testing::Test {
 protected:
  void SetUp() override {
    fs::create_directory(folder_.file("in"));
    for (const char* suffix : {".index", ".data-00000-of-00002", ".data-00001-of-00002"}) {
      fs::copy_file(kFixtures + "sharded" + suffix, folder_.file(std::string("in/x") + suffix));
    }
  }
  [[nodiscard]] Status open() const { return TensorBundle::open({folder_.file("in/x")}).status(); }

  TempFolder folder_;
  const std::string shard_ = folder_.file("in/x.data-00001-of-00002");
};

TEST_F(BundleFolderTest, AShardThatIsMissing) {
  ASSERT_TRUE(open().ok()) << open().message();
  fs::remove(shard_);
  EXPECT_EQ(open().code(), StatusCode::kCorrupt);
  EXPECT_EQ(open().message(), shard_ + ": is not there, but belongs to the bundle");
}

TEST_F(BundleFolderTest, DamageNamesTheFileAndTheTensor) {
  std::string bytes = read_text(shard_);
  write_text(shard_, flipped(bytes, 0));
  EXPECT_THAT(open().message(), HasSubstr(shard_ + ": tensor \"columns\": is damaged: its checksum differs"));
  write_text(shard_, bytes.substr(0, 700));
  EXPECT_THAT(open().message(), HasSubstr(shard_ + ": has 700 bytes; tensor "));
}

TEST_F(BundleFolderTest, NoSuchPrefixIsAnErrorOfTheSystem) {
  EXPECT_EQ(TensorBundle::open({folder_.file("in/y")}).status().code(), StatusCode::kIo);
  EXPECT_EQ(TensorBundle::open({folder_.file("none/y")}).status().code(), StatusCode::kIo);
  fs::create_directory(folder_.file("y.index"));
  EXPECT_EQ(TensorBundle::open({folder_.file("y")}).status().code(), StatusCode::kIo);
}

TEST_F(BundleFolderTest, LinksMustNotLeadOut) {
  for (const std::string& file : {shard_, folder_.file("in/x.index")}) {
    // To a file of the same folder: fine.
    fs::rename(file, folder_.file("in/other"));
    fs::create_symlink("other", file);
    EXPECT_TRUE(open().ok()) << open().message();
    fs::remove(file);
    fs::rename(folder_.file("in/other"), folder_.file("other"));
    for (const std::string& target : {std::string("../other"), folder_.file("other")}) {
      fs::create_symlink(target, file);
      EXPECT_EQ(open().code(), StatusCode::kCorrupt) << target;
      EXPECT_THAT(open().message(), HasSubstr("leads out of its folder"));
      fs::remove(file);
    }
    fs::rename(folder_.file("other"), file);
  }
  // The folder itself may be reached through a link.
  fs::create_directory_symlink("in", folder_.file("link"));
  EXPECT_TRUE(TensorBundle::open({folder_.file("link/x")}).ok());
  // A shard that is no regular file.
  fs::remove(shard_);
  fs::create_directory(shard_);
  EXPECT_EQ(open().code(), StatusCode::kIo);
}

}  // namespace
}  // namespace nacre
