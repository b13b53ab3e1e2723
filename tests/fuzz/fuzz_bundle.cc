// libFuzzer target: tensor bundles. The first byte chooses how the rest is taken:
// 0: three bytes of length, an index file of that length, then the data file. As they are, and once more with
//    the checksums of the blocks made right.
// 1: entries (a byte of length and the key, a byte of length and the value), an empty key that ends them,
// then
//    the data file; checksums are made right. So the fuzzer need not know how tables are built.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "schemas/tensorflow/tensor_bundle.pb.h"
#include "serialize/tensorflow/crc32c.h"
#include "serialize/tensorflow/table_format.h"
#include "serialize/tensorflow/table_reader.h"
#include "serialize/tensorflow/table_writer.h"
#include "serialize/tensorflow/tensor_bundle_reader.h"
#include "serialize/tensorflow/varint.h"

namespace {

using nacre::BundleType;

uint32_t masked(std::string_view bytes) {
  return nacre::mask_crc32c(nacre::crc32c(std::as_bytes(std::span(bytes))));
}

/// A copy without a byte to spare, so that a read past its end is seen.
nacre::FileBytes exact(std::string_view bytes) {
  const std::shared_ptr<std::byte[]> memory(new std::byte[bytes.size()]);
  if (!bytes.empty()) std::memcpy(memory.get(), bytes.data(), bytes.size());
  return {{memory.get(), bytes.size()}, std::shared_ptr<void>(memory, memory.get())};
}

void read(const std::string& index, std::string_view data) {
  const auto bundle = nacre::TensorBundle::parse(index, {exact(data)});
  if (!bundle.ok()) {
    if (bundle.status().message().empty()) std::abort();
    return;
  }
  for (const auto& [name, tensor] : bundle->tensors()) {
    const auto floats = bundle->floats(name);
    const auto number = bundle->integer(name);
    const auto text = bundle->text(name);
    if (floats.ok() != (tensor.type == BundleType::kFloat32)) std::abort();
    if (floats.ok() && !(floats->shape() == tensor.shape)) std::abort();
    if ((number.ok() || text.ok()) && tensor.shape.rank() != 0) std::abort();
    if (text.ok() && text->size() > data.size()) std::abort();
  }
}

void read_table(const std::string& file) {
  const auto entries = nacre::parse_table(file);
  if (!entries.ok()) return;
  for (size_t i = 1; i < entries->size(); ++i) {
    if ((*entries)[i - 1].key >= (*entries)[i].key) std::abort();
  }
}

/// Makes the checksums of a table's blocks right, as far as they lie where the footer says.
void repair(std::string& file) {
  if (file.size() < nacre::kTableFooterBytes) return;
  const size_t footer_at = file.size() - nacre::kTableFooterBytes;
  std::string magic;
  nacre::put_fixed(magic, nacre::kTableMagic);
  file.replace(file.size() - magic.size(), magic.size(), magic);
  std::string_view footer = std::string_view(file).substr(footer_at);
  std::array<uint64_t, 4> numbers{};
  for (uint64_t& number : numbers) {
    const auto taken = nacre::take_varint(footer);
    if (!taken.has_value()) return;
    number = *taken;
  }
  const auto seal = [&](uint64_t begin, uint64_t end) {
    if (end < begin || end > footer_at || end - begin < nacre::kBlockTrailerBytes) return;
    const size_t checksum_at = end - sizeof(uint32_t);
    std::string checksum;
    nacre::put_fixed(checksum, masked(std::string_view(file).substr(begin, checksum_at - begin)));
    file.replace(checksum_at, checksum.size(), checksum);
  };
  const auto& [meta_at, meta_size, index_at, index_size] = numbers;
  seal(0, meta_at);
  if (meta_size < footer_at) seal(meta_at, meta_at + meta_size + nacre::kBlockTrailerBytes);
  if (index_size < footer_at) seal(index_at, index_at + index_size + nacre::kBlockTrailerBytes);
}

/// Takes a length of one byte and as many bytes.
std::string_view take(std::string_view& from) {
  if (from.empty()) return {};
  const size_t length = std::min<size_t>(static_cast<uint8_t>(from[0]), from.size() - 1);
  const std::string_view taken = from.substr(1, length);
  from.remove_prefix(1 + length);
  return taken;
}

std::string sealed(std::string_view value, std::string_view data) {
  tensorflow::BundleEntryProto entry;
  if (!entry.ParseFromArray(value.data(), static_cast<int>(value.size()))) return std::string(value);
  const auto offset = static_cast<uint64_t>(entry.offset());
  const auto size = static_cast<uint64_t>(entry.size());
  if (offset > data.size() || size > data.size() - offset) return std::string(value);
  entry.set_crc32c(masked(data.substr(offset, size)));
  return entry.SerializeAsString();
}

void read_entries(std::string_view input) {
  std::map<std::string, std::string_view> entries;
  for (std::string_view key = take(input); !key.empty(); key = take(input))
    entries[std::string(key)] = take(input);
  nacre::TableWriter index;
  static_cast<void>(index.add("", std::string_view("\x08\x01\x1a\x02\x08\x01", 6)).ok());
  for (const auto& [key, value] : entries) static_cast<void>(index.add(key, sealed(value, input)).ok());
  read(index.finish(), input);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view input(reinterpret_cast<const char*>(data), size);
  if (input.empty()) return 0;
  const bool whole_files = input[0] == 0;
  input.remove_prefix(1);
  if (!whole_files) {
    read_entries(input);
    return 0;
  }
  constexpr size_t kLengthBytes = 3;
  if (input.size() < kLengthBytes) return 0;
  size_t length = 0;
  for (size_t i = 0; i < kLengthBytes; ++i) length |= size_t{static_cast<uint8_t>(input[i])} << (8 * i);
  input.remove_prefix(kLengthBytes);
  std::string index(input.substr(0, length));
  const std::string_view shard = input.substr(index.size());
  for (const bool repaired : {false, true}) {
    if (repaired) repair(index);
    read_table(index);
    read(index, shard);
  }
  return 0;
}
