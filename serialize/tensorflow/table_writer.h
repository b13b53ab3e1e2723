#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/status.h"

namespace nacre {

/// TensorFlow's settings for the index of a tensor bundle.
struct TableOptions {
  size_t block_size = size_t{256} << 10;  ///< a data block ends with the entry that reaches this many bytes
  int restart_interval = 16;              ///< entries from one whole key to the next
};

/// A block in the making (table_format.h).
class BlockBuilder {
 public:
  explicit BlockBuilder(int restart_interval) : interval_(restart_interval) {}
  /// Keys must ascend.
  void add(std::string_view key, std::string_view value);
  [[nodiscard]] bool empty() const { return entries_.empty(); }
  /// What the block would take, were it to end here.
  [[nodiscard]] size_t size() const;
  /// The block, without its trailer; the builder is as new afterwards.
  std::string finish();

 private:
  int interval_;
  int since_restart_ = 0;
  std::string entries_;
  std::string last_key_;
  std::vector<uint32_t> restarts_{0};
};

/// Makes a table in memory, byte for byte as LevelDB's TableBuilder makes it with the same options and
/// without compression.
class TableWriter {
 public:
  explicit TableWriter(const TableOptions& options = {});

  /// Keys must ascend strictly, bytewise; kBadData otherwise.
  Status add(std::string_view key, std::string_view value);
  /// The bytes of the file. Call once, last.
  std::string finish();

 private:
  std::string write_block(BlockBuilder& block);
  void end_data_block();

  TableOptions options_;
  BlockBuilder data_;
  BlockBuilder index_;
  std::string file_;
  std::string last_key_;
  std::string pending_handle_;  ///< of the data block that the index does not have yet
  bool any_ = false;
};

}  // namespace nacre
