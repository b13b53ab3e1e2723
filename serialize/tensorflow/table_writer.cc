#include "serialize/tensorflow/table_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <utility>

#include "serialize/tensorflow/crc32c.h"
#include "serialize/tensorflow/table_format.h"
#include "serialize/tensorflow/varint.h"

namespace nacre {
namespace {

size_t common_prefix(std::string_view a, std::string_view b) {
  return static_cast<size_t>(std::ranges::mismatch(a, b).in1 - a.begin());
}

/// A short key at or after `before` and before `after`: the first byte that differs, one up, when there is
/// room between the two.
std::string separator(std::string_view before, std::string_view after) {
  const size_t at = common_prefix(before, after);
  std::string result(before);
  if (at == before.size() || at == after.size()) return result;
  const auto byte = static_cast<uint8_t>(before[at]);
  if (byte == 0xff || byte + 1 >= static_cast<uint8_t>(after[at])) return result;
  result.resize(at + 1);
  result[at] = static_cast<char>(byte + 1);
  return result;
}

/// A short key at or after `key`: its first byte that can go one up.
std::string successor(std::string_view key) {
  std::string result(key);
  for (size_t i = 0; i < key.size(); ++i) {
    const auto byte = static_cast<uint8_t>(key[i]);
    if (byte == 0xff) continue;
    result.resize(i + 1);
    result[i] = static_cast<char>(byte + 1);
    break;
  }
  return result;
}

}  // namespace

void BlockBuilder::add(std::string_view key, std::string_view value) {
  size_t shared = 0;
  if (since_restart_ == interval_) {
    restarts_.push_back(static_cast<uint32_t>(entries_.size()));
    since_restart_ = 0;
  } else {
    shared = common_prefix(last_key_, key);
  }
  ++since_restart_;
  put_varint(entries_, shared);
  put_varint(entries_, key.size() - shared);
  put_varint(entries_, value.size());
  entries_ += key.substr(shared);
  entries_ += value;
  last_key_ = key;
}

size_t BlockBuilder::size() const {
  return entries_.size() + (restarts_.size() + 1) * sizeof(uint32_t);
}

std::string BlockBuilder::finish() {
  std::string block = std::move(entries_);
  for (const uint32_t restart : restarts_) put_fixed(block, restart);
  put_fixed(block, static_cast<uint32_t>(restarts_.size()));
  *this = BlockBuilder(interval_);
  return block;
}

TableWriter::TableWriter(const TableOptions& options)
    : options_(options), data_(options.restart_interval), index_(1) {}

Status TableWriter::add(std::string_view key, std::string_view value) {
  if (any_ && key <= last_key_) {
    return {StatusCode::kBadData,
            fmt::format("table: key {:?} comes after {:?}; keys must ascend", key, last_key_)};
  }
  if (!pending_handle_.empty()) index_.add(separator(last_key_, key), std::exchange(pending_handle_, {}));
  data_.add(key, value);
  last_key_ = key;
  any_ = true;
  if (data_.size() >= options_.block_size) end_data_block();
  return {};
}

std::string TableWriter::finish() {
  end_data_block();
  BlockBuilder metaindex(options_.restart_interval);
  std::string footer = write_block(metaindex);
  if (!pending_handle_.empty()) index_.add(successor(last_key_), pending_handle_);
  footer += write_block(index_);
  footer.resize(kTableFooterBytes - kTableMagicBytes);
  put_fixed(footer, kTableMagic);
  file_ += footer;
  return std::move(file_);
}

void TableWriter::end_data_block() {
  if (!data_.empty()) pending_handle_ = write_block(data_);
}

/// Appends the block and its trailer; the result is its handle.
std::string TableWriter::write_block(BlockBuilder& block) {
  const std::string bytes = block.finish();
  std::string handle;
  put_varint(handle, file_.size());
  put_varint(handle, bytes.size());
  const size_t begin = file_.size();
  file_ += bytes;
  file_ += static_cast<char>(BlockCompression::kNone);
  const uint32_t checksum = crc32c(std::as_bytes(std::span(file_).subspan(begin)));
  put_fixed(file_, mask_crc32c(checksum));
  return handle;
}

}  // namespace nacre
