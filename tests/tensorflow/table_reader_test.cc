#include "serialize/tensorflow/table_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "serialize/tensorflow/crc32c.h"
#include "serialize/tensorflow/table_format.h"
#include "serialize/tensorflow/table_writer.h"
#include "serialize/tensorflow/varint.h"
#include "tests/tensorflow/table_files.h"

namespace nacre {
namespace {

using testing::HasSubstr;

TableContent read_table(const std::string& file) {
  const auto entries = parse_table(file);
  EXPECT_TRUE(entries.ok()) << entries.status().message();
  TableContent content;
  if (!entries.ok()) return content;
  for (const TableEntry& entry : *entries) content[entry.key] = entry.value;
  EXPECT_EQ(content.size(), entries->size());
  return content;
}

TEST(TableReader, ReadsWhatLevelDbWrites) {
  for (const TableContent& content : sample_tables()) {
    for (const size_t block_size : {1UL, 100UL, 4096UL, 262144UL}) {
      for (const int restart_interval : {1, 16}) {
        for (const bool snappy : {false, true}) {
          for (const bool filter : {false, true}) {
            const std::string file = leveldb_table(content, {block_size, restart_interval, snappy, filter});
            ASSERT_TRUE(read_table(file) == content)
                << content.size() << " entries, blocks of " << block_size << ", restarts " << restart_interval
                << ", snappy " << snappy << ", filter " << filter;
          }
        }
      }
    }
  }
}

/// Files small enough to try every bit of.
std::vector<std::string> small_files() {
  TableContent content{{"", "header"}};
  for (const char* key : {"a", "ab", "abc", "b", "conv1/bias", "conv1/kernel"}) {
    content[key] = std::string(30, 'v') + key;
  }
  std::vector<std::string> files{leveldb_table({}, {})};
  for (const bool snappy : {false, true}) {
    files.push_back(leveldb_table(content, {262144, 16, snappy, false}));
    files.push_back(leveldb_table(content, {64, 2, snappy, true}));
  }
  return files;
}

TEST(TableReader, EveryFlippedBitIsFound) {
  for (std::string file : small_files()) {
    ASSERT_TRUE(parse_table(file).ok());
    for (size_t i = 0; i < file.size(); ++i) {
      for (unsigned bit = 0; bit < 8; ++bit) {
        file[i] = static_cast<char>(file[i] ^ (1 << bit));
        ASSERT_EQ(parse_table(file).status().code(), StatusCode::kCorrupt) << "byte " << i << " bit " << bit;
        file[i] = static_cast<char>(file[i] ^ (1 << bit));
      }
    }
  }
}

TEST(TableReader, EveryTruncationAndEveryByteMoreIsFound) {
  for (const std::string& file : small_files()) {
    for (size_t size = 0; size < file.size(); ++size) {
      ASSERT_EQ(parse_table(std::string_view(file).substr(0, size)).status().code(), StatusCode::kCorrupt)
          << size;
      std::string longer = file;
      longer.insert(size, 1, '\0');
      ASSERT_EQ(parse_table(longer).status().code(), StatusCode::kCorrupt) << size;
    }
    ASSERT_EQ(parse_table(file + '\0').status().code(), StatusCode::kCorrupt);
  }
}

// What follows has right checksums and is wrong in other ways.

std::string varints(std::initializer_list<uint64_t> values) {
  std::string bytes;
  for (const uint64_t value : values) put_varint(bytes, value);
  return bytes;
}

std::string entry(uint64_t shared, const std::string& rest, const std::string& value) {
  return varints({shared, rest.size(), value.size()}) + rest + value;
}

std::string block(const std::string& entries, const std::vector<uint32_t>& restarts = {0}) {
  std::string bytes = entries;
  for (const uint32_t restart : restarts) put_fixed(bytes, restart);
  put_fixed(bytes, static_cast<uint32_t>(restarts.size()));
  return bytes;
}

/// A file in the making.
class Forge {
 public:
  /// Appends a block with its trailer; the result is its handle.
  std::string add(const std::string& bytes, char compression = 0) {
    const std::string handle = varints({file_.size(), bytes.size()});
    std::string with_type = bytes + compression;
    put_fixed(with_type, mask_crc32c(crc32c(std::as_bytes(std::span(with_type)))));
    file_ += with_type;
    return handle;
  }
  std::string finish(std::string handles) {
    handles.resize(kTableFooterBytes - kTableMagicBytes);
    put_fixed(handles, kTableMagic);
    return file_ + handles;
  }
  /// Metaindex, index and footer around one data block that is there.
  std::string finish_with(const std::string& data_handle, const std::string& separator) {
    const std::string metaindex = add(block(""));
    const std::string index = add(block(entry(0, separator, data_handle)));
    return finish(metaindex + index);
  }

 private:
  std::string file_;
};

void expect_refused(const std::string& file, const std::string& reason,
                    StatusCode code = StatusCode::kCorrupt) {
  const auto entries = parse_table(file);
  EXPECT_EQ(entries.status().code(), code) << reason;
  EXPECT_THAT(entries.status().message(), HasSubstr(reason));
}

void expect_data_refused(const std::string& data, const std::string& reason,
                         StatusCode code = StatusCode::kCorrupt) {
  Forge forge;
  const std::string handle = forge.add(data);
  expect_refused(forge.finish_with(handle, "z"), reason, code);
}

TEST(HostileTable, TheForgeMakesGoodTablesToo) {
  Forge forge;
  const std::string handle = forge.add(block(entry(0, "abc", "1") + entry(2, "d", "2"), {0}));
  EXPECT_EQ(read_table(forge.finish_with(handle, "b")), (TableContent{{"abc", "1"}, {"abd", "2"}}));
}

TEST(HostileTable, Footer) {
  expect_refused("", "has 0 bytes");
  expect_refused(std::string(47, 'x'), "has 47 bytes");
  expect_refused(std::string(100, 'x'), "magic number");
  expect_refused(Forge().finish(std::string(40, '\xff')), "no varints");
  constexpr uint64_t kHuge = std::numeric_limits<uint64_t>::max();
  for (const uint64_t value : {kHuge, kHuge - 4, kHuge - 5, kHuge / 2, uint64_t{1000}, uint64_t{9}}) {
    Forge forge;
    const std::string good = forge.add(block(""));
    expect_refused(forge.finish(good + varints({value, 8})), "ends past the end");
    expect_refused(forge.finish(good + varints({0, value})), "ends past the end");
    expect_refused(forge.finish(varints({value, value}) + good), "ends past the end");
  }
  // A number that takes more bytes than it must.
  Forge forge;
  const std::string good = forge.add(block(""));
  expect_refused(forge.finish(std::string("\x80\0", 2) + "\x08" + good), "no varints");
  // Metaindex and index are the same block.
  expect_refused(forge.finish(good + good), "overlap or leave bytes");
  expect_refused(Forge().finish(""), "ends past the end");
}

TEST(HostileTable, Restarts) {
  const std::string entries = entry(0, "a", "1") + entry(0, "b", "2");
  expect_data_refused("", "too short");
  expect_data_refused(std::string(7, '\0'), "too short");
  expect_data_refused(std::string(8, '\0'), "says 0 restarts");
  expect_data_refused(entries + std::string(8, '\xff'), "restarts in");
  expect_data_refused(std::string(8, '\xff'), "says 4294967295 restarts in 8 bytes");
  expect_data_refused(block(entries, {1}), "first entry is no restart");
  expect_data_refused(block(entries, {0, 2}), "restart 1 is at no entry");
  expect_data_refused(block(entries, {0, 5, 5}), "restart 2 is at no entry");
  expect_data_refused(block(entries, {0, 0}), "restart 1 is at no entry");
  expect_data_refused(block(entries, {0, 1000}), "restart 1 is at no entry");
  expect_data_refused(block(entry(0, "ab", "1") + entry(1, "c", "2"), {0, 6}), "shares bytes");
  expect_data_refused(block("", {0, 0}), "at no entry");
  expect_data_refused(block("", {7}), "at no entry");
  expect_data_refused(block(""), "is empty");
}

TEST(HostileTable, Entries) {
  constexpr uint64_t kHuge = std::numeric_limits<uint64_t>::max();
  const std::string first = entry(0, "ab", "1");
  expect_data_refused(block("\xff"), "no varints");
  expect_data_refused(block(std::string(12, '\xff')), "no varints");
  expect_data_refused(block(std::string("\x80\0\x01\0k", 5)), "no varints");
  expect_data_refused(block(entry(1, "a", "1")), "shares 1 bytes of the key before it, which has 0");
  expect_data_refused(block(first + entry(3, "c", "1")), "shares 3 bytes of the key before it, which has 2");
  for (const uint64_t size : {kHuge, kHuge - 1, uint64_t{1} << 32, uint64_t{5}}) {
    expect_data_refused(block(varints({0, size, 1}) + "ab"), "ends past the block's end");
    expect_data_refused(block(varints({0, 1, size}) + "ab"), "ends past the block's end");
    expect_data_refused(block(varints({size, 1, 1}) + "ab"), "shares");
  }
  expect_data_refused(block(first + entry(0, "aa", "")), "not in order");
  expect_data_refused(block(first + entry(2, "", "")), "not in order");
  expect_data_refused(block(entry(0, std::string(kMaxTableKeyBytes + 1, 'k'), "")), "a key has 4097 bytes",
                      StatusCode::kLimit);
}

TEST(HostileTable, KeysThatUnfoldToTooMuchAreRefusedBeforeTheyAre) {
  // 5 bytes an entry, each of which stands for a key of 4,000.
  std::string entries = entry(0, std::string(3990, 'k'), "");
  std::string number(4, 'a');
  for (int i = 0; i < 70000; ++i) {
    std::string next = number;
    for (size_t digit = next.size(); digit-- > 0 && ++next[digit] > 'z';) next[digit] = 'a';
    const size_t shared =
        i == 0 ? 0 : static_cast<size_t>(std::ranges::mismatch(number, next).in1 - number.begin());
    entries += entry(3990 + shared, next.substr(shared), "");
    number = next;
  }
  expect_data_refused(block(entries), "unfolds to more than", StatusCode::kLimit);
}

TEST(HostileTable, BlocksMustBeInOrderAndFillTheFile) {
  const std::string a = block(entry(0, "a", "1"));
  const std::string b = block(entry(0, "b", "2"));
  const auto two = [](const std::string& first, const std::string& first_key, const std::string& second,
                      const std::string& second_key) {
    Forge forge;
    const std::string handle1 = forge.add(first);
    const std::string handle2 = forge.add(second);
    const std::string metaindex = forge.add(block(""));
    const std::string index =
        forge.add(block(entry(0, first_key, handle1) + entry(0, second_key, handle2), {0}));
    return forge.finish(metaindex + index);
  };
  EXPECT_EQ(read_table(two(a, "a", b, "b")).size(), 2U);
  expect_refused(two(a, "b", b, "c"), "not between those that the index says");
  expect_refused(two(b, "a", a, "b"), "not between");
  expect_refused(two(a, "a", a, "b"), "not between");
  expect_refused(two(b, "c", a, "b"), "not in order");

  Forge hole;
  const std::string handle = hole.add(a);
  hole.add(b);
  expect_refused(hole.finish_with(handle, "a"), "overlap or leave bytes");
  Forge twice;
  const std::string same = twice.add(a);
  const std::string metaindex = twice.add(block(""));
  const std::string index = twice.add(block(entry(0, "a", same) + entry(0, "b", same), {0}));
  expect_refused(twice.finish(metaindex + index), "overlap");
  // Data after the index.
  Forge behind;
  const std::string first = behind.add(a);
  const std::string meta = behind.add(block(""));
  const std::string lines = behind.add(block(entry(0, "a", first)));
  behind.add(b);
  expect_refused(behind.finish(meta + lines), "belong to no block");

  Forge forge;
  forge.add(a);
  for (const std::string& value : {std::string(), std::string("\x05"), std::string("\0\x0c\0", 3),
                                   std::string("\x80\0\x0c", 3), std::string(20, '\xff')}) {
    Forge bad = forge;
    expect_refused(bad.finish_with(value, "a"), "is no handle of a block");
  }
  Forge far = forge;
  expect_refused(far.finish_with(varints({0, std::numeric_limits<uint64_t>::max()}), "a"), "ends past");
}

TEST(HostileTable, Compression) {
  for (const int type : {2, 3, 255}) {
    Forge forge;
    const std::string handle = forge.add(block(entry(0, "a", "1")), static_cast<char>(type));
    expect_refused(forge.finish_with(handle, "a"), "has compression " + std::to_string(type));
  }
  Forge forge;
  const std::string handle = forge.add(block(entry(0, "a", "1")), 1);
  expect_refused(forge.finish_with(handle, "a"), "is no snappy data");
  Forge bomb;
  const std::string huge = bomb.add(varints({UINT32_MAX}) + "abc", 1);
  expect_refused(bomb.finish_with(huge, "a"), "unfolds to 4294967295 bytes", StatusCode::kLimit);
}

}  // namespace
}  // namespace nacre
