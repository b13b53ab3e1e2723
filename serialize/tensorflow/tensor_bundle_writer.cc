#include "serialize/tensorflow/tensor_bundle_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <span>
#include <string_view>
#include <utility>

#include "schemas/tensorflow/tensor_bundle.pb.h"
#include "serialize/atomic_file.h"
#include "serialize/tensorflow/crc32c.h"
#include "serialize/tensorflow/table_writer.h"
#include "serialize/tensorflow/tensor_bundle_format.h"
#include "serialize/tensorflow/varint.h"

namespace nacre {
namespace {

static_assert(std::endian::native == std::endian::little, "tensors are written as they lie in memory");

/// Writes a data file, and knows where it stands.
class ShardWriter {
 public:
  explicit ShardWriter(AtomicFile& file) : file_(file) {}

  /// Appends the value; the entry has type, shape, place and checksum.
  Result<tensorflow::BundleEntryProto> write(const BundleItem& item) {
    tensorflow::BundleEntryProto entry;
    // There even when a scalar's, as TensorFlow has it.
    tensorflow::TensorShapeProto& shape = *entry.mutable_shape();
    if (const auto* tensor = std::get_if<TensorView<const float>>(&item.value)) {
      entry.set_dtype(tensorflow::DT_FLOAT);
      for (const int64_t extent : tensor->shape.dims()) shape.add_dim()->set_size(extent);
      const std::span elements(tensor->data, static_cast<size_t>(tensor->size()));
      NACRE_RETURN_IF_ERROR(append(std::as_bytes(elements), crc32c(std::as_bytes(elements)), entry));
    } else if (const auto* number = std::get_if<int64_t>(&item.value)) {
      entry.set_dtype(tensorflow::DT_INT64);
      const auto bytes = std::as_bytes(std::span(number, 1));
      NACRE_RETURN_IF_ERROR(append(bytes, crc32c(bytes), entry));
    } else {
      entry.set_dtype(tensorflow::DT_STRING);
      NACRE_RETURN_IF_ERROR(append_text(std::get<std::string>(item.value), entry));
    }
    return entry;
  }

 private:
  Status append(std::span<const std::byte> bytes, uint32_t checksum, tensorflow::BundleEntryProto& entry) {
    entry.set_offset(offset_);
    entry.set_size(static_cast<int64_t>(bytes.size()));
    entry.set_crc32c(mask_crc32c(checksum));
    offset_ += entry.size();
    return file_.write(bytes);
  }

  /// A string is its length as a varint, a checksum of the length, and its bytes. Both checksums are taken
  /// over the length as a 32-bit number.
  Status append_text(const std::string& text, tensorflow::BundleEntryProto& entry) {
    std::string summed;
    put_fixed(summed, static_cast<uint32_t>(text.size()));
    put_fixed(summed, mask_crc32c(crc32c(std::as_bytes(std::span(summed)))));
    std::string bytes;
    put_varint(bytes, text.size());
    bytes += std::string_view(summed).substr(sizeof(uint32_t));
    bytes += text;
    summed += text;
    return append(std::as_bytes(std::span(bytes)), crc32c(std::as_bytes(std::span(summed))), entry);
  }

  AtomicFile& file_;
  int64_t offset_ = 0;
};

Status check_items(const std::vector<BundleItem>& items) {
  const auto bad = [](std::string reason) { return Status(StatusCode::kBadData, std::move(reason)); };
  for (size_t i = 0; i < items.size(); ++i) {
    const std::string& name = items[i].name;
    if (name.empty() || name.size() > kMaxTensorNameBytes || name.find('\0') != std::string::npos) {
      return bad(fmt::format("a tensor has the name {:?}; expected 1 to {} bytes without NUL", name,
                             kMaxTensorNameBytes));
    }
    if (i > 0 && items[i - 1].name == name) return bad(fmt::format("two tensors have the name {:?}", name));
    if (const auto* text = std::get_if<std::string>(&items[i].value);
        text != nullptr && text->size() > kMaxBundleTextBytes) {
      return {StatusCode::kLimit, fmt::format("string tensor {:?} has {} bytes; the limit is {}", name,
                                              text->size(), kMaxBundleTextBytes)};
    }
  }
  return {};
}

Result<std::string> write_shard(AtomicFile& file, const std::vector<BundleItem>& items) {
  TableWriter index;
  tensorflow::BundleHeaderProto header;
  header.set_num_shards(1);
  header.mutable_version()->set_producer(kTensorBundleVersion);
  NACRE_RETURN_IF_ERROR(index.add("", header.SerializeAsString()));
  ShardWriter shard(file);
  for (const BundleItem& item : items) {
    NACRE_ASSIGN_OR_RETURN(const tensorflow::BundleEntryProto entry, shard.write(item));
    NACRE_RETURN_IF_ERROR(index.add(item.name, entry.SerializeAsString()));
  }
  return index.finish();
}

}  // namespace

std::string bundle_index_path(const std::string& prefix) {
  return prefix + ".index";
}

std::string bundle_shard_path(const std::string& prefix, int shard, int num_shards) {
  return fmt::format("{}.data-{:05}-of-{:05}", prefix, shard, num_shards);
}

Status write_tensor_bundle(const std::string& prefix, std::vector<BundleItem> items, bool overwrite,
                           FileSystem& file_system) {
  const std::string index_path = bundle_index_path(prefix);
  std::ranges::sort(items, {}, &BundleItem::name);
  NACRE_RETURN_IF_ERROR(check_items(items).at(index_path));
  NACRE_ASSIGN_OR_RETURN(AtomicFile index_file, AtomicFile::create(index_path, overwrite, file_system));
  NACRE_ASSIGN_OR_RETURN(AtomicFile shard_file,
                         AtomicFile::create(bundle_shard_path(prefix, 0, 1), overwrite, file_system));
  NACRE_ASSIGN_OR_RETURN(const std::string index, write_shard(shard_file, items));
  if (index.size() > kMaxBundleIndexBytes) {
    return {StatusCode::kLimit, fmt::format("{}: would have {} bytes; the limit is {}", index_path,
                                            index.size(), kMaxBundleIndexBytes)};
  }
  // The moment between the two renames is as short as can be.
  NACRE_RETURN_IF_ERROR(index_file.write(std::as_bytes(std::span(index))));
  NACRE_RETURN_IF_ERROR(shard_file.commit());
  return index_file.commit();
}

Status write_tensor_bundle(const std::string& prefix, const VariableStore& variables, bool overwrite,
                           FileSystem& file_system) {
  std::vector<BundleItem> items;
  for (const auto& [name, tensor] : variables.tensors()) items.push_back({name, tensor.view()});
  return write_tensor_bundle(prefix, std::move(items), overwrite, file_system);
}

}  // namespace nacre
