#include "serialize/tensorflow/tensor_bundle_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "schemas/tensorflow/tensor_bundle.pb.h"
#include "tests/serialize/test_files.h"
#include "tests/tensorflow/table_files.h"

namespace nacre {
namespace {

using testing::HasSubstr;

VariableStore sample_store() {
  VariableStore store;
  EXPECT_TRUE(store.add("a/kernel", make_tensor({2, 3}, {1, 2, 3, 4, 5, 6})).ok());
  EXPECT_TRUE(store.add("a/bias", make_tensor({3}, {-1, 0, 1})).ok());
  EXPECT_TRUE(store.add("empty", Tensor(Shape{0, 4})).ok());
  EXPECT_TRUE(store.add("scalar", make_tensor({}, {0.5F})).ok());
  return store;
}

tensorflow::BundleEntryProto entry_of(const TableContent& index, const std::string& name) {
  tensorflow::BundleEntryProto entry;
  EXPECT_TRUE(index.contains(name)) << name;
  EXPECT_TRUE(entry.ParseFromString(index.at(name))) << name;
  return entry;
}

TEST(TensorBundleWriter, WritesIndexAndOneShard) {
  const TempFolder folder;
  const Status status = write_tensor_bundle(folder.file("ckpt"), sample_store(), false);
  ASSERT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(folder.names(), (std::vector<std::string>{"ckpt.data-00000-of-00001", "ckpt.index"}));
  const TableContent index = leveldb_read(read_text(folder.file("ckpt.index")));
  ASSERT_EQ(index.size(), 5U);
  EXPECT_EQ(index.at(""), std::string("\x08\x01\x1a\x02\x08\x01"));
  // In the order of names: 3 + 6 + 0 + 1 floats.
  EXPECT_EQ(entry_of(index, "a/bias").offset(), 0);
  EXPECT_EQ(entry_of(index, "a/kernel").offset(), 12);
  EXPECT_EQ(entry_of(index, "a/kernel").size(), 24);
  EXPECT_EQ(entry_of(index, "a/kernel").dtype(), tensorflow::DT_FLOAT);
  EXPECT_EQ(entry_of(index, "a/kernel").shape().dim(1).size(), 3);
  EXPECT_EQ(entry_of(index, "empty").offset(), 36);
  EXPECT_EQ(entry_of(index, "empty").crc32c(), 0xa282ead8U);
  EXPECT_EQ(entry_of(index, "scalar").offset(), 36);
  EXPECT_TRUE(entry_of(index, "scalar").has_shape());
  EXPECT_EQ(std::filesystem::file_size(folder.file("ckpt.data-00000-of-00001")), 40U);
}

TEST(TensorBundleWriter, AnExistingBundleIsReplacedOnlyWhenAskedFor) {
  const TempFolder folder;
  ASSERT_TRUE(write_tensor_bundle(folder.file("ckpt"), sample_store(), false).ok());
  const std::string before = read_text(folder.file("ckpt.data-00000-of-00001"));
  VariableStore other;
  ASSERT_TRUE(other.add("b", make_tensor({1}, {7})).ok());
  EXPECT_EQ(write_tensor_bundle(folder.file("ckpt"), other, false).code(), StatusCode::kIo);
  EXPECT_EQ(read_text(folder.file("ckpt.data-00000-of-00001")), before);
  EXPECT_TRUE(write_tensor_bundle(folder.file("ckpt"), other, true).ok());
  EXPECT_EQ(leveldb_read(read_text(folder.file("ckpt.index"))).size(), 2U);
  EXPECT_EQ(folder.names().size(), 2U);
  // A data file alone is in the way too.
  std::filesystem::remove(folder.file("ckpt.index"));
  EXPECT_EQ(write_tensor_bundle(folder.file("ckpt"), other, false).code(), StatusCode::kIo);
}

TEST(TensorBundleWriter, NamesAreChecked) {
  const TempFolder folder;
  const auto refused = [&](std::vector<BundleItem> items, const std::string& reason) {
    const Status status = write_tensor_bundle(folder.file("ckpt"), std::move(items), false);
    EXPECT_EQ(status.code(), StatusCode::kBadData);
    EXPECT_THAT(status.message(), HasSubstr(reason));
    EXPECT_TRUE(folder.names().empty());
  };
  refused({{"", int64_t{1}}}, "has the name \"\"");
  refused({{std::string("a\0b", 3), int64_t{1}}}, "without NUL");
  refused({{std::string(2000, 'x'), int64_t{1}}}, "1 to 1024 bytes");
  refused({{"a", int64_t{1}}, {"b", int64_t{1}}, {"a", std::string("x")}}, "two tensors have the name \"a\"");
}

}  // namespace
}  // namespace nacre
