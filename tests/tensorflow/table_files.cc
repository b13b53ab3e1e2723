#include "tests/tensorflow/table_files.h"

#include <gtest/gtest.h>
#include <leveldb/comparator.h>
#include <leveldb/env.h>
#include <leveldb/filter_policy.h>
#include <leveldb/options.h>
#include <leveldb/table.h>
#include <leveldb/table_builder.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <random>

namespace nacre {
namespace {

class StringSink final : public leveldb::WritableFile {
 public:
  leveldb::Status Append(const leveldb::Slice& data) override {
    bytes.append(data.data(), data.size());
    return leveldb::Status::OK();
  }
  leveldb::Status Close() override { return leveldb::Status::OK(); }
  leveldb::Status Flush() override { return leveldb::Status::OK(); }
  leveldb::Status Sync() override { return leveldb::Status::OK(); }

  std::string bytes;
};

class StringSource final : public leveldb::RandomAccessFile {
 public:
  explicit StringSource(const std::string& bytes) : bytes_(bytes) {}
  leveldb::Status Read(uint64_t offset, size_t n, leveldb::Slice* result, char* /*scratch*/) const override {
    if (offset > bytes_.size()) return leveldb::Status::InvalidArgument("past the end");
    *result = leveldb::Slice(bytes_.data() + offset, std::min<size_t>(n, bytes_.size() - offset));
    return leveldb::Status::OK();
  }

 private:
  const std::string& bytes_;
};

/// `count` keys out of an alphabet of few bytes, so that many share long prefixes and 0 and 255 are among
/// them.
TableContent random_table(size_t count, size_t longest_key, size_t longest_value, uint32_t seed) {
  constexpr std::string_view kBytes("\0\1ab/\xfe\xff", 7);
  std::mt19937 random(seed);
  const auto below = [&](size_t n) { return static_cast<size_t>(random() % n); };
  TableContent table;
  // As many tries as it takes when there are enough keys of that length, and then some.
  for (size_t tries = 0; table.size() < count && tries < 20 * count; ++tries) {
    std::string key(below(longest_key + 1), '\0');
    for (char& byte : key) byte = kBytes[below(kBytes.size())];
    std::string value(below(longest_value + 1), '\0');
    for (char& byte : value) byte = static_cast<char>(below(256));
    table[key] = value;
  }
  return table;
}

}  // namespace

std::vector<TableContent> sample_tables() {
  std::vector<TableContent> tables{
      {},
      {{"", ""}},
      {{"", "header"}, {"conv1/bias", "x"}},
      {{"\xff\xff", "no successor"}},
      {{std::string("\0", 1), "a"}, {std::string("\0\0", 2), "b"}, {"\xff", "c"}, {"\xff\xff", "d"}},
      {{"a", std::string(300000, 'x')}, {"b", std::string(100, 'y')}},
  };
  TableContent layers{{"", "header"}};
  for (int block = 0; block < 60; ++block) {
    for (const char* name : {"kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance"}) {
      for (const char* slot : {"", "/Adam", "/Adam_1"}) {
        layers["model/stage/block_" + std::to_string(block) + "/batch_norm/" + name + slot] =
            std::string(static_cast<size_t>(20 + block % 7), static_cast<char>(block));
      }
    }
  }
  tables.push_back(std::move(layers));
  TableContent many;
  for (int i = 0; i < 6000; ++i) many["variable_" + std::to_string(i)] = std::to_string(i * 7919);
  tables.push_back(std::move(many));
  TableContent prefixes;  // each key is a prefix of the next
  for (size_t length = 0; length < 300; ++length) prefixes[std::string(length, 'p')] = std::to_string(length);
  tables.push_back(std::move(prefixes));
  for (uint32_t seed = 0; seed < 40; ++seed) {
    tables.push_back(random_table(1 + seed * seed, 1 + seed % 9, 1 + seed * 3, seed));
  }
  return tables;
}

std::string leveldb_table(const TableContent& content, const LevelDbOptions& options) {
  leveldb::Options leveldb_options;
  leveldb_options.block_size = options.block_size;
  leveldb_options.block_restart_interval = options.restart_interval;
  leveldb_options.compression = options.snappy ? leveldb::kSnappyCompression : leveldb::kNoCompression;
  const std::unique_ptr<const leveldb::FilterPolicy> filter(options.filter ? leveldb::NewBloomFilterPolicy(10)
                                                                           : nullptr);
  leveldb_options.filter_policy = filter.get();
  StringSink sink;
  leveldb::TableBuilder builder(leveldb_options, &sink);
  for (const auto& [key, value] : content) builder.Add(key, value);
  const leveldb::Status status = builder.Finish();
  EXPECT_TRUE(status.ok()) << status.ToString();
  return sink.bytes;
}

TableContent leveldb_read(const std::string& table) {
  leveldb::Options options;
  options.paranoid_checks = true;
  StringSource source(table);
  leveldb::Table* opened = nullptr;
  const leveldb::Status status = leveldb::Table::Open(options, &source, table.size(), &opened);
  EXPECT_TRUE(status.ok()) << status.ToString();
  if (!status.ok()) return {};
  const std::unique_ptr<leveldb::Table> owner(opened);
  leveldb::ReadOptions read_options;
  read_options.verify_checksums = true;
  const std::unique_ptr<leveldb::Iterator> at(opened->NewIterator(read_options));
  TableContent content;
  for (at->SeekToFirst(); at->Valid(); at->Next()) content[at->key().ToString()] = at->value().ToString();
  EXPECT_TRUE(at->status().ok()) << at->status().ToString();
  return content;
}

}  // namespace nacre
