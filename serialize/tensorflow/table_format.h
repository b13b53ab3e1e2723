#pragma once

#include <cstddef>
#include <cstdint>

namespace nacre {

// What writer and reader of tables share: LevelDB's sorted string table (its doc/table_format.md), which is
// what the index of a tensor bundle is.
//
//   data blocks     in ascending order of keys
//   meta blocks     such as LevelDB's filter; TensorFlow writes none
//   metaindex block names of meta blocks -> handles
//   index block     a key at or after a data block's last and before the next one's first -> its handle
//   footer          handles of metaindex and index, zeros, magic
//
// A block is entries {varint shared, varint unshared, varint value bytes, rest of the key, value}, where
// `shared` bytes of the key are those of the entry before; then the offsets of the entries that share
// nothing (restarts) and their number, 32 bits each. One byte of compression and the masked CRC-32C of block
// and that byte follow. A handle is {varint offset, varint bytes without those five}.

inline constexpr size_t kTableFooterBytes = 48;
inline constexpr size_t kTableMagicBytes = 8;
inline constexpr uint64_t kTableMagic = 0xdb4775248b80fb57;
/// Compression and checksum, after every block.
inline constexpr size_t kBlockTrailerBytes = 5;

enum class BlockCompression : uint8_t { kNone = 0, kSnappy = 1 };

}  // namespace nacre
