#include "serialize/tensorflow/table_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include "serialize/tensorflow/crc32c.h"
#include "serialize/tensorflow/snappy.h"
#include "serialize/tensorflow/table_format.h"
#include "serialize/tensorflow/varint.h"

namespace nacre {
namespace {

Status corrupt(std::string reason) {
  return Status(StatusCode::kCorrupt, std::move(reason));
}

/// Where a block lies.
struct Handle {
  uint64_t offset = 0;
  uint64_t size = 0;  ///< without trailer

  [[nodiscard]] std::string place() const { return fmt::format("block at {}", offset); }
  /// Valid for a handle that lies within the file.
  [[nodiscard]] uint64_t end() const { return offset + size + kBlockTrailerBytes; }
};

std::optional<Handle> take_handle(std::string_view& from) {
  const auto offset = take_varint(from);
  if (!offset.has_value()) return std::nullopt;
  const auto size = take_varint(from);
  if (!size.has_value()) return std::nullopt;
  return Handle{*offset, *size};
}

/// Counts what is unfolded out of the file.
class Budget {
 public:
  Status spend(size_t bytes) {
    if (bytes > left_) {
      return {StatusCode::kLimit,
              fmt::format("unfolds to more than {} bytes, the limit", kMaxTableContentBytes)};
    }
    left_ -= bytes;
    return {};
  }
  [[nodiscard]] size_t left() const { return left_; }

 private:
  size_t left_ = kMaxTableContentBytes;
};

/// The front of a block's entry, taken off `entries`.
struct EntryHead {
  uint64_t shared;
  uint64_t unshared;
  uint64_t value;
};

Result<EntryHead> take_head(std::string_view& entries, size_t key_before) {
  const auto shared = take_varint(entries);
  const auto unshared = shared.has_value() ? take_varint(entries) : std::nullopt;
  const auto value = unshared.has_value() ? take_varint(entries) : std::nullopt;
  if (!value.has_value()) return corrupt("an entry's lengths are no varints");
  if (*shared > key_before) {
    return corrupt(
        fmt::format("an entry shares {} bytes of the key before it, which has {}", *shared, key_before));
  }
  if (*unshared > entries.size() || *value > entries.size() - *unshared) {
    return corrupt(fmt::format("an entry of {} and {} bytes ends past the block's end", *unshared, *value));
  }
  if (*shared + *unshared > kMaxTableKeyBytes) {
    return Status(StatusCode::kLimit,
                  fmt::format("a key has {} bytes; the limit is {}", *shared + *unshared, kMaxTableKeyBytes));
  }
  return EntryHead{*shared, *unshared, *value};
}

/// The entries of a block without its trailer.
Result<std::vector<TableEntry>> parse_block(std::string_view block, Budget& budget) {
  constexpr size_t kWord = sizeof(uint32_t);
  if (block.size() < 2 * kWord) return corrupt("is too short for its restarts");
  const uint64_t restarts = get_fixed<uint32_t>(block.substr(block.size() - kWord));
  if (restarts == 0 || restarts > block.size() / kWord - 1) {
    return corrupt(fmt::format("says {} restarts in {} bytes", restarts, block.size()));
  }
  const size_t end = block.size() - (restarts + 1) * kWord;
  const auto restart = [&](uint64_t i) { return get_fixed<uint32_t>(block.substr(end + i * kWord)); };
  std::string_view left = block.substr(0, end);
  std::vector<TableEntry> entries;
  uint64_t met = 0;  // restarts
  while (!left.empty()) {
    const size_t at = end - left.size();
    const std::string_view before = entries.empty() ? std::string_view() : entries.back().key;
    NACRE_ASSIGN_OR_RETURN(const EntryHead head, take_head(left, before.size()));
    if (met < restarts && restart(met) == at) {
      if (head.shared != 0) return corrupt(fmt::format("restart {} is at an entry that shares bytes", met));
      ++met;
    }
    if (met == 0) return corrupt("its first entry is no restart");
    if (entries.size() == kMaxTableEntries) {
      return Status(StatusCode::kLimit, fmt::format("has more than {} entries, the limit", kMaxTableEntries));
    }
    NACRE_RETURN_IF_ERROR(budget.spend(head.shared + head.unshared + head.value));
    TableEntry entry;
    entry.key = before.substr(0, head.shared);
    entry.key += left.substr(0, head.unshared);
    entry.value = left.substr(head.unshared, head.value);
    left.remove_prefix(head.unshared + head.value);
    if (!entries.empty() && entry.key <= entries.back().key) {
      return corrupt(fmt::format("key {:?} comes after {:?}: not in order", entry.key, entries.back().key));
    }
    entries.push_back(std::move(entry));
  }
  // A block without entries has one restart all the same.
  if (entries.empty() ? restarts != 1 || restart(0) != 0 : met != restarts) {
    return corrupt(fmt::format("restart {} is at no entry", met));
  }
  return entries;
}

class TableParser {
 public:
  explicit TableParser(std::string_view file) : file_(file) {}

  Result<std::vector<TableEntry>> parse() {
    NACRE_ASSIGN_OR_RETURN(const auto handles, read_footer());
    const auto& [metaindex, index] = handles;
    NACRE_ASSIGN_OR_RETURN(const std::vector<TableEntry> blocks, read_entries(index));
    NACRE_ASSIGN_OR_RETURN(std::vector<TableEntry> entries, read_data(blocks));
    NACRE_RETURN_IF_ERROR(skip_meta_blocks(metaindex));
    NACRE_RETURN_IF_ERROR(account(metaindex));
    NACRE_RETURN_IF_ERROR(account(index));
    if (accounted_ != file_.size() - kTableFooterBytes) {
      return corrupt(fmt::format("the {} bytes at {} belong to no block",
                                 file_.size() - kTableFooterBytes - accounted_, accounted_));
    }
    return entries;
  }

 private:
  /// Handles of metaindex and index.
  Result<std::pair<Handle, Handle>> read_footer() {
    if (file_.size() < kTableFooterBytes) {
      return corrupt(fmt::format("has {} bytes, fewer than the {} of a table's footer", file_.size(),
                                 kTableFooterBytes));
    }
    std::string_view footer = file_.substr(file_.size() - kTableFooterBytes);
    if (get_fixed<uint64_t>(footer.substr(kTableFooterBytes - kTableMagicBytes)) != kTableMagic) {
      return corrupt("does not end with a table's magic number: no table, cut off, or longer than it was");
    }
    footer.remove_suffix(kTableMagicBytes);
    const auto metaindex = take_handle(footer);
    const auto index = metaindex.has_value() ? take_handle(footer) : std::nullopt;
    if (!index.has_value()) return corrupt("has a footer whose handles are no varints");
    if (footer.find_first_not_of('\0') != std::string_view::npos) {
      return corrupt("has a footer with padding that is not zero");
    }
    return std::pair(*metaindex, *index);
  }

  /// The bytes of a block whose place and checksum have been checked, decompressed into `storage` if need be.
  Result<std::string_view> read_block(const Handle& handle, std::string& storage) {
    const uint64_t space = file_.size() - kTableFooterBytes;
    // Subtractions on the side that cannot wrap.
    if (space < kBlockTrailerBytes || handle.size > space - kBlockTrailerBytes ||
        handle.offset > space - kBlockTrailerBytes - handle.size) {
      return corrupt(
          fmt::format("a block of {} bytes at {} ends past the end ({})", handle.size, handle.offset, space));
    }
    const std::string_view block = file_.substr(handle.offset, handle.size + kBlockTrailerBytes);
    const std::string_view summed = block.substr(0, handle.size + 1);
    const uint32_t checksum = crc32c(std::as_bytes(std::span(summed)));
    if (get_fixed<uint32_t>(block.substr(handle.size + 1)) != mask_crc32c(checksum)) {
      return corrupt(fmt::format("{} is damaged: its checksum differs", handle.place()));
    }
    const std::string_view content = block.substr(0, handle.size);
    switch (static_cast<BlockCompression>(block[handle.size])) {
      case BlockCompression::kNone:
        return content;
      case BlockCompression::kSnappy: {
        auto unfolded = snappy_decompress(content, budget_.left());
        if (!unfolded.ok()) return unfolded.status().at(handle.place());
        NACRE_RETURN_IF_ERROR(budget_.spend(unfolded->size()));
        storage = std::move(unfolded).value();
        return std::string_view(storage);
      }
    }
    return corrupt(fmt::format("{} has compression {}; known are 0 (none) and 1 (snappy)", handle.place(),
                               static_cast<int>(static_cast<uint8_t>(block[handle.size]))));
  }

  Result<std::vector<TableEntry>> read_entries(const Handle& handle) {
    std::string storage;
    NACRE_ASSIGN_OR_RETURN(const std::string_view block, read_block(handle, storage));
    auto entries = parse_block(block, budget_);
    if (!entries.ok()) return entries.status().at(handle.place());
    return entries;
  }

  /// The next bytes of the file must be this block.
  Status account(const Handle& handle) {
    if (handle.offset != accounted_) {
      return corrupt(fmt::format("{} should begin at {}: blocks overlap or leave bytes between them",
                                 handle.place(), accounted_));
    }
    accounted_ = handle.end();
    return {};
  }

  /// All entries of the data blocks that the index names.
  Result<std::vector<TableEntry>> read_data(const std::vector<TableEntry>& blocks) {
    std::vector<TableEntry> entries;
    const std::string* separator = nullptr;
    for (const TableEntry& line : blocks) {
      NACRE_ASSIGN_OR_RETURN(const Handle handle, handle_in(line));
      NACRE_RETURN_IF_ERROR(account(handle));
      NACRE_ASSIGN_OR_RETURN(std::vector<TableEntry> block, read_entries(handle));
      if (block.empty()) return corrupt(fmt::format("{} is empty", handle.place()));
      if ((separator != nullptr && block.front().key <= *separator) || block.back().key > line.key) {
        return corrupt(fmt::format("{}: its keys are not between those that the index says", handle.place()));
      }
      separator = &line.key;
      if (entries.size() + block.size() > kMaxTableEntries) {
        return Status(StatusCode::kLimit,
                      fmt::format("has more than {} entries, the limit", kMaxTableEntries));
      }
      std::ranges::move(block, std::back_inserter(entries));
    }
    return entries;
  }

  Status skip_meta_blocks(const Handle& metaindex) {
    NACRE_ASSIGN_OR_RETURN(const std::vector<TableEntry> lines, read_entries(metaindex));
    std::vector<Handle> handles;
    for (const TableEntry& line : lines) {
      NACRE_ASSIGN_OR_RETURN(const Handle handle, handle_in(line));
      handles.push_back(handle);
    }
    std::ranges::sort(handles, {}, &Handle::offset);
    for (const Handle& handle : handles) {
      std::string storage;
      NACRE_RETURN_IF_ERROR(account(handle));
      NACRE_RETURN_IF_ERROR(read_block(handle, storage).status());
    }
    return {};
  }

  /// The handle that is the whole value of an entry.
  static Result<Handle> handle_in(const TableEntry& line) {
    std::string_view value = line.value;
    const auto handle = take_handle(value);
    if (!handle.has_value() || !value.empty()) {
      return corrupt(fmt::format("the value of {:?} is no handle of a block", line.key));
    }
    return *handle;
  }

  std::string_view file_;
  uint64_t accounted_ = 0;
  Budget budget_;
};

}  // namespace

Result<std::vector<TableEntry>> parse_table(std::string_view file) {
  return TableParser(file).parse();
}

}  // namespace nacre
