#include "serialize/tensorflow/table_writer.h"

#include <gtest/gtest.h>

#include "tests/tensorflow/table_files.h"

namespace nacre {
namespace {

std::string write_table(const TableContent& content, const TableOptions& options = {}) {
  TableWriter writer(options);
  for (const auto& [key, value] : content) {
    const Status status = writer.add(key, value);
    EXPECT_TRUE(status.ok()) << status.message();
  }
  return writer.finish();
}

TEST(TableWriter, GivesTheBytesOfLevelDb) {
  size_t compared = 0;
  for (const TableContent& content : sample_tables()) {
    for (const size_t block_size : {1UL, 40UL, 100UL, 1000UL, 4096UL, 262144UL}) {
      for (const int restart_interval : {1, 2, 16}) {
        LevelDbOptions oracle;
        oracle.block_size = block_size;
        oracle.restart_interval = restart_interval;
        const std::string table = write_table(content, {block_size, restart_interval});
        ASSERT_TRUE(table == leveldb_table(content, oracle))
            << content.size() << " entries, blocks of " << block_size << ", restarts " << restart_interval;
        ++compared;
      }
    }
  }
  EXPECT_GT(compared, 800U);
}

TEST(TableWriter, LevelDbReadsIt) {
  for (const TableContent& content : sample_tables()) {
    EXPECT_EQ(leveldb_read(write_table(content)), content);
    EXPECT_EQ(leveldb_read(write_table(content, {64, 3})), content);
  }
}

TEST(TableWriter, KeysMustAscend) {
  TableWriter writer;
  EXPECT_TRUE(writer.add("", "1").ok());
  EXPECT_EQ(writer.add("", "2").code(), StatusCode::kBadData);
  EXPECT_TRUE(writer.add("b", "3").ok());
  const Status status = writer.add("a", "4");
  EXPECT_EQ(status.code(), StatusCode::kBadData);
  EXPECT_EQ(status.message(), "table: key \"a\" comes after \"b\"; keys must ascend");
}

}  // namespace
}  // namespace nacre
