// Bundles with right checksums that are wrong in other ways (items 36 to 41 of the list of hostile inputs).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>

#include "schemas/tensorflow/tensor_bundle.pb.h"
#include "serialize/tensorflow/crc32c.h"
#include "serialize/tensorflow/table_writer.h"
#include "serialize/tensorflow/tensor_bundle_reader.h"
#include "serialize/tensorflow/varint.h"
#include "tests/serialize/test_files.h"

namespace nacre {
namespace {

using tensorflow::BundleEntryProto;
using tensorflow::BundleHeaderProto;
using testing::HasSubstr;

constexpr int64_t kHuge = std::numeric_limits<int64_t>::max();

uint32_t masked(const std::string& bytes) {
  return mask_crc32c(crc32c(std::as_bytes(std::span(bytes))));
}

/// Two float32 tensors in one shard: a [2, 3] (24 bytes) and b [4] (16 bytes); tests change what they like.
struct Forge {
  Forge() {
    header.set_num_shards(1);
    header.mutable_version()->set_producer(1);
    put("a", {2, 3}, 0, 24);
    put("b", {4}, 24, 16);
  }
  void put(const std::string& key, const std::vector<int64_t>& dims, int64_t offset, int64_t size) {
    BundleEntryProto entry;
    entry.set_dtype(tensorflow::DT_FLOAT);
    for (const int64_t dim : dims) entry.mutable_shape()->add_dim()->set_size(dim);
    entry.set_offset(offset);
    entry.set_size(size);
    if (offset >= 0 && size >= 0 && static_cast<size_t>(offset) <= data.size()) {
      entry.set_crc32c(masked(data.substr(static_cast<size_t>(offset), static_cast<size_t>(size))));
    }
    entries[key] = entry;
  }
  [[nodiscard]] Result<TensorBundle> read() const {
    TableWriter index;
    EXPECT_TRUE(index.add("", raw_header.empty() ? header.SerializeAsString() : raw_header).ok());
    for (const auto& [key, entry] : entries) EXPECT_TRUE(index.add(key, entry.SerializeAsString()).ok());
    std::vector<FileBytes> shards(static_cast<size_t>(std::max(1, shard_files)), aligned(bytes_of(data)));
    return TensorBundle::parse(index.finish(), std::move(shards));
  }
  void refused(const std::string& reason, StatusCode code = StatusCode::kCorrupt) const {
    const Status status = read().status();
    EXPECT_EQ(status.code(), code) << reason;
    EXPECT_THAT(status.message(), HasSubstr(reason));
  }

  BundleHeaderProto header;
  std::string raw_header;
  std::map<std::string, BundleEntryProto> entries;
  std::string data = std::string(23, 'd') + std::string(17, 'e');
  int shard_files = 1;
};

TEST(HostileBundle, TheForgeMakesGoodBundlesToo) {
  const auto bundle = Forge().read();
  ASSERT_TRUE(bundle.ok()) << bundle.status().message();
  EXPECT_EQ(bundle->tensors().size(), 2U);
}

TEST(HostileBundle, Header) {
  Forge forge;
  forge.header.set_endianness(BundleHeaderProto::BIG);
  forge.refused("big-endian", StatusCode::kUnsupported);

  forge = Forge();
  forge.header.mutable_version()->set_producer(9);
  EXPECT_TRUE(forge.read().ok());
  forge.header.mutable_version()->set_min_consumer(2);
  forge.refused(
      "has version 9 of the tensor bundle format, for readers of version 2 and up; this nacre reads version "
      "1",
      StatusCode::kUnsupported);
  forge.header.mutable_version()->set_min_consumer(1);
  forge.header.mutable_version()->add_bad_consumers(1);
  forge.refused("this nacre reads version 1", StatusCode::kUnsupported);

  for (const int shards : {0, -1, std::numeric_limits<int>::min()}) {
    forge = Forge();
    forge.header.set_num_shards(shards);
    forge.refused("says that it has " + std::to_string(shards) + " data files");
  }
  forge = Forge();
  forge.header.set_num_shards(std::numeric_limits<int>::max());
  forge.refused("has 2147483647 data files; the limit is 10000", StatusCode::kLimit);
  forge.header.set_num_shards(2);
  forge.refused("has 1 data files; the index says 2");
  // The second one has bytes of no tensor.
  forge.shard_files = 2;
  forge.refused("shard 1: has 40 bytes after its last tensor");

  forge = Forge();
  forge.raw_header = "\xff\xff";
  forge.refused("no BundleHeaderProto");
  TableWriter headless;
  ASSERT_TRUE(headless.add("a", "b").ok());
  EXPECT_THAT(TensorBundle::parse(headless.finish(), {}).status().message(), HasSubstr("has no header"));
  EXPECT_THAT(TensorBundle::parse(TableWriter().finish(), {}).status().message(), HasSubstr("has no header"));
}

TEST(HostileBundle, SizeAndShape) {
  Forge forge;
  forge.entries["b"].set_size(12);
  forge.refused("tensor \"b\": it has 12 bytes; its shape [4] of float32 asks for 16");
  forge = Forge();
  forge.entries["b"].set_size(-16);
  forge.refused("tensor \"b\": it has -16 bytes at 24");
  forge = Forge();
  forge.entries["b"].set_dtype(tensorflow::DT_INT64);
  forge.refused("[4] of int64 asks for 32");

  const auto with_shape = [](const std::vector<int64_t>& dims) {
    Forge shaped;
    shaped.entries["b"].mutable_shape()->clear_dim();
    for (const int64_t dim : dims) shaped.entries["b"].mutable_shape()->add_dim()->set_size(dim);
    return shaped;
  };
  with_shape({-4}).refused("negative extent -4");
  with_shape({-2, -2}).refused("negative extent -2");
  with_shape({4194305, 4194305, 211106198978564}).refused("more than 2^48 elements");
  with_shape({kHuge, kHuge}).refused("more than 2^48 elements");
  with_shape({0, kHuge}).refused("more than 2^48 elements");
  with_shape({1, 1, 1, 1, 1, 1, 1, 1, 4})
      .refused("has 9 dimensions; nacre reads up to 8", StatusCode::kUnsupported);
  with_shape(std::vector<int64_t>(1000000, 1)).refused("the limit is 262144", StatusCode::kLimit);
  EXPECT_TRUE(with_shape({1, 1, 1, 1, 1, 1, 1, 4}).read().ok());
  forge = Forge();
  forge.entries["b"].mutable_shape()->set_unknown_rank(true);
  forge.refused("its shape has no rank");
}

TEST(HostileBundle, Places) {
  const auto moved = [](int64_t offset) {
    Forge forge;
    forge.entries["b"].set_offset(offset);
    return forge;
  };
  moved(25).refused("shard 0: has 40 bytes; tensor \"b\" ends at 41");
  moved(kHuge).refused("ends at 9223372036854775823");
  moved(-1).refused("it has 16 bytes at -1");
  moved(20).refused("tensor \"b\" at 20 overlaps the one before it");
  moved(0).refused("overlaps");
  for (const int shard : {-1, 1, 1000, std::numeric_limits<int>::max()}) {
    Forge forge;
    forge.entries["b"].set_shard_id(shard);
    forge.refused("it lies in data file " + std::to_string(shard) + " of 1");
  }
  Forge forge;
  forge.entries.erase("a");
  forge.refused("the bytes from 0 to 24 belong to no tensor and are no padding");
  forge = Forge();
  forge.entries.erase("b");
  forge.refused("has 16 bytes after its last tensor");
  forge = Forge();
  forge.entries["c"] = forge.entries["b"];
  forge.refused("overlaps");
  forge = Forge();
  forge.entries["b"].set_crc32c(1);
  forge.refused("shard 0: tensor \"b\": is damaged: its checksum differs");
}

TEST(HostileBundle, PaddingMayBeZerosAndNotTooMany) {
  Forge forge;
  forge.data = std::string(24, 'd') + std::string(40, '\0') + std::string(16, 'e');
  forge.put("a", {2, 3}, 0, 24);
  forge.put("b", {4}, 64, 16);
  EXPECT_TRUE(forge.read().ok()) << forge.read().status().message();
  forge.data[30] = 1;
  forge.refused("the bytes from 24 to 64 belong to no tensor");
  forge.data = std::string(24, 'd') + std::string(4096, '\0') + std::string(16, 'e');
  forge.put("b", {4}, 24 + 4096, 16);
  forge.refused("the bytes from 24 to 4120 belong to no tensor");
}

TEST(HostileBundle, Types) {
  for (const int type : {0, -1, 101, 107, 1000}) {
    Forge forge;
    forge.entries["b"].set_dtype(static_cast<tensorflow::DataType>(type));
    forge.refused("it has the element type " + std::to_string(type));
  }
  // What nacre does not know may be there, but is not read.
  for (const int type : {21, 20, 99}) {
    Forge forge;
    forge.entries["b"].set_dtype(static_cast<tensorflow::DataType>(type));
    const auto bundle = forge.read();
    ASSERT_TRUE(bundle.ok()) << bundle.status().message();
    EXPECT_EQ(bundle->floats("b").status().code(), StatusCode::kUnsupported);
  }
}

TEST(HostileBundle, Names) {
  Forge forge;
  forge.put(std::string(1025, 'n'), {0}, 0, 0);
  forge.refused("expected 1 to 1024 bytes without NUL");
  forge = Forge();
  forge.put(std::string("n\0m", 3), {0}, 0, 0);
  forge.refused("without NUL");
  forge = Forge();
  forge.put(std::string("\0m", 2), {0}, 0, 0);
  forge.refused("belongs to no tensor");
}

TEST(HostileBundle, Strings) {
  // One string of 12 bytes in the place of `b`'s 16... with its length, and the checksum of that.
  const auto with_text = [](const std::string& lengths, const std::string& summed_lengths,
                            const std::string& text, const std::vector<int64_t>& dims) {
    Forge forge;
    std::string checksum;
    put_fixed(checksum, masked(summed_lengths));
    forge.data.resize(24);
    forge.data += lengths + checksum + text;
    forge.put("b", dims, 24, static_cast<int64_t>(lengths.size() + 4 + text.size()));
    forge.entries["b"].set_dtype(tensorflow::DT_STRING);
    forge.entries["b"].set_crc32c(masked(summed_lengths + checksum + text));
    return forge;
  };
  const std::string five("\5\0\0\0", 4);
  const auto good = with_text("\5", five, "abcde", {}).read();
  ASSERT_TRUE(good.ok()) << good.status().message();
  EXPECT_EQ(good->text("b").value(), "abcde");
  EXPECT_TRUE(with_text("\5\5", five + five, "abcdeABCDE", {2}).read().ok());
  EXPECT_TRUE(with_text("", "", "", {0}).read().ok());

  with_text("\5", five, "abcd", {}).refused("has 4 bytes of strings whose lengths add up to 5");
  with_text("\5", five, "abcdef", {}).refused("has 6 bytes of strings whose lengths add up to 5");
  with_text("\5", "\5", "abcde", {}).refused("the checksum of its strings' lengths differs");
  with_text("\5\5", five + five, "abcdeABC", {2}).refused("has 8 bytes of strings");
  with_text("\5", five, "abcde", {2}).refused("shard 0: tensor \"b\"");
  with_text("\5", five, "abcde", {int64_t{1} << 47}).refused("shard 0: tensor \"b\"");
  with_text("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", std::string(8, '\xff'), "abcde", {})
      .refused("end past its end");
  with_text(std::string("\x85\0", 2), five, "abcde", {}).refused("no varint");
}

/// `w` [4, 6] in two slices of columns.
struct SlicedForge : Forge {
  SlicedForge() {
    entries.clear();
    data = std::string(40, 'l') + std::string(56, 'r');
    BundleEntryProto& whole = entries["w"];
    whole.set_dtype(tensorflow::DT_FLOAT);
    whole.mutable_shape()->add_dim()->set_size(4);
    whole.mutable_shape()->add_dim()->set_size(6);
    add_slice(0, 2, 0);
    add_slice(2, 4, 32);
  }
  void add_slice(int64_t start, int64_t length, int64_t offset) {
    tensorflow::TensorSliceProto& slice = *entries["w"].add_slices();
    slice.add_extent();
    slice.add_extent()->set_start(start);
    slice.mutable_extent(1)->set_length(length);
    put(key(start, length), {4, length}, offset, 4 * 4 * length);
  }
  static std::string key(int64_t start, int64_t length) {
    return bundle_slice_key("w", {{0, -1}, {start, length}});
  }
};

TEST(HostileBundle, Slices) {
  ASSERT_TRUE(SlicedForge().read().ok()) << SlicedForge().read().status().message();
  SlicedForge forge;
  forge.entries.erase("w");
  forge.refused("belongs to no tensor");
  forge = SlicedForge();
  forge.entries.erase(SlicedForge::key(2, 4));
  forge.refused("one of its slices has no entry");
  forge = SlicedForge();
  *forge.entries["w"].mutable_slices(1) = forge.entries["w"].slices(0);
  forge.refused("one of its slices has no entry, or is named twice");
  forge = SlicedForge();
  forge.entries["w"].mutable_slices()->RemoveLast();
  forge.refused("its slices have 8 of its 24 elements");
  forge = SlicedForge();
  forge.add_slice(1, 3, 0);
  forge.refused("two of its slices overlap");
  forge = SlicedForge();
  forge.entries["w"].mutable_slices(1)->add_extent();
  forge.refused("a slice has 3 dimensions, the tensor 2");
  forge = SlicedForge();
  forge.entries[SlicedForge::key(2, 4)].set_dtype(tensorflow::DT_INT32);
  forge.refused("the entry of one of its slices is of another type");
  forge = SlicedForge();
  forge.entries[SlicedForge::key(2, 4)].mutable_shape()->mutable_dim(1)->set_size(3);
  forge.refused("the entry of one of its slices is [4, 3], expected [4, 4]");
  forge = SlicedForge();
  forge.entries["w"].set_dtype(tensorflow::DT_STRING);
  forge.refused("it has slices of type string", StatusCode::kUnsupported);
  for (const auto& [start, length] : std::vector<std::pair<int64_t, int64_t>>{
           {-1, 4}, {3, 4}, {2, -2}, {kHuge, 4}, {2, kHuge}, {std::numeric_limits<int64_t>::min(), kHuge}}) {
    forge = SlicedForge();
    auto& extent = *forge.entries["w"].mutable_slices(1)->mutable_extent(1);
    extent.set_start(start);
    extent.set_length(length);
    forge.refused("of dimension 1, which has 6");
  }
  forge = SlicedForge();
  for (int i = 0; i < 1100; ++i) *forge.entries["w"].add_slices() = forge.entries["w"].slices(0);
  forge.refused("it has 1102 slices; the limit is 1024", StatusCode::kLimit);
}

TEST(BundleSliceKey, IsInTensorFlowsOrderedCode) {
  // Names with the bytes that the code escapes.
  EXPECT_EQ(bundle_slice_key("w", {}), std::string("\0w\0\1\0", 5));
  EXPECT_EQ(bundle_slice_key("\xff", {}), std::string("\0\xff\0\0\1\0", 6));
  const auto number = [](int64_t value) { return bundle_slice_key("", {{value, 0}}).substr(5); };
  EXPECT_EQ(number(0), "\x80\x80");
  EXPECT_EQ(number(-1), "\x7f\x80");
  EXPECT_EQ(number(63), "\xbf\x80");
  EXPECT_EQ(number(-64), "\x40\x80");
  EXPECT_EQ(number(64), "\xc0\x40\x80");
  EXPECT_EQ(number(-65), "\x3f\xbf\x80");
  EXPECT_EQ(number(8191), "\xdf\xff\x80");
  EXPECT_EQ(number(8192), std::string("\xe0\x20\0\x80", 4));
  EXPECT_EQ(number(kHuge), "\xff\xc0\x7f\xff\xff\xff\xff\xff\xff\xff\x80");
  EXPECT_EQ(number(std::numeric_limits<int64_t>::min()), std::string("\0\x3f\x80\0\0\0\0\0\0\0\x80", 11));
  // The bytes compare as the numbers do.
  std::string before = number(std::numeric_limits<int64_t>::min());
  for (int bit = 62; bit >= 0; --bit) {
    const std::string next = number(-(int64_t{1} << bit));
    EXPECT_LT(before, next) << bit;
    before = next;
  }
  for (int bit = 0; bit < 63; ++bit) {
    const std::string next = number(int64_t{1} << bit);
    EXPECT_LT(before, next) << bit;
    before = next;
  }
}

}  // namespace
}  // namespace nacre
