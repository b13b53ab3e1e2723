#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "engine/status.h"

namespace nacre {

/// The longest key of a table, in bytes: a tensor's name, or that of a slice with its extents.
inline constexpr size_t kMaxTableKeyBytes = 4096;
inline constexpr size_t kMaxTableEntries = 1000000;
/// What keys (prefixes unfolded) and values (decompressed) may take together.
inline constexpr size_t kMaxTableContentBytes = size_t{256} << 20;

struct TableEntry {
  std::string key;
  std::string value;

  [[nodiscard]] bool operator==(const TableEntry&) const = default;
};

/// Reads a table (table_format.h): its entries, in ascending order of keys. Takes what LevelDB and TensorFlow
/// write, compressed with snappy too; meta blocks are checked and left alone.
///
/// Everything is checked: footer, handles, the checksum of every block, restarts, prefixes, the order of
/// keys, that index keys separate the blocks, and that blocks and footer are every byte of the file: so no
/// flipped bit and no byte more or less goes unnoticed. kCorrupt for all of that, kLimit over a limit. Errors
/// do not name the file.
Result<std::vector<TableEntry>> parse_table(std::string_view file);

}  // namespace nacre
