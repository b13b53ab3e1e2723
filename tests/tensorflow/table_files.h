#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

namespace nacre {

/// What a table holds, in the order of keys.
using TableContent = std::map<std::string, std::string>;

/// Key sets that are hard on prefixes, separators and the ends of blocks, from none to thousands of entries.
std::vector<TableContent> sample_tables();

struct LevelDbOptions {
  size_t block_size = size_t{256} << 10;
  int restart_interval = 16;
  bool snappy = false;
  bool filter = false;  ///< a bloom filter: a meta block
};

/// The table that LevelDB's TableBuilder makes.
std::string leveldb_table(const TableContent& content, const LevelDbOptions& options);

/// What LevelDB reads of a table, with all its checks on. The test fails when it finds anything wrong.
TableContent leveldb_read(const std::string& table);

}  // namespace nacre
