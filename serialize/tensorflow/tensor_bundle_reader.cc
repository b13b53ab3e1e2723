#include "serialize/tensorflow/tensor_bundle_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <optional>
#include <span>
#include <system_error>
#include <utility>

#include "engine/file.h"
#include "serialize/tensorflow/crc32c.h"
#include "serialize/tensorflow/tensor_bundle_format.h"
#include "serialize/tensorflow/varint.h"

namespace nacre {
namespace {

namespace fs = std::filesystem;

/// As far apart as alignment may put two tensors, in bytes.
constexpr uint64_t kMaxPadding = 4096;

Status corrupt(std::string reason) {
  return Status(StatusCode::kCorrupt, std::move(reason));
}

uint32_t checksum_of(std::string_view bytes, uint32_t before = 0) {
  return crc32c(std::as_bytes(std::span(bytes)), before);
}

/// Checks the bytes of a tensor of strings: lengths, a checksum of the lengths, the bytes of all strings. The
/// result is the checksum that the index should have: over the lengths as numbers of 32 bits (64 if need be),
/// their checksum, and the strings.
Result<uint32_t> check_texts(std::string_view bytes, int64_t count) {
  uint32_t checksum = 0;
  uint64_t total = 0;
  for (int64_t i = 0; i < count; ++i) {
    const auto length = take_varint(bytes);
    if (!length.has_value()) return corrupt("has a string whose length is no varint, or is cut off");
    std::string summed;
    if (*length <= UINT32_MAX) {
      put_fixed(summed, static_cast<uint32_t>(*length));
    } else {
      put_fixed(summed, *length);
    }
    checksum = checksum_of(summed, checksum);
    if (*length > bytes.size() || total > bytes.size() - *length)
      return corrupt("has strings that end past its end");
    total += *length;
  }
  std::string masked;
  put_fixed(masked, mask_crc32c(checksum));
  if (!bytes.starts_with(masked)) return corrupt("is damaged: the checksum of its strings' lengths differs");
  bytes.remove_prefix(masked.size());
  if (bytes.size() != total) {
    return corrupt(fmt::format("has {} bytes of strings whose lengths add up to {}", bytes.size(), total));
  }
  return mask_crc32c(checksum_of(bytes, checksum_of(masked, checksum)));
}

/// Copies a box of elements into the tensor that it is cut out of.
void copy_box(const BundlePart& box, std::string_view bytes, Tensor& tensor) {
  const Shape& shape = tensor.shape();
  const int last = shape.rank() - 1;
  if (box.shape.num_elements() == 0) return;
  if (box.shape == shape) {
    std::memcpy(tensor.data(), bytes.data(), bytes.size());
    return;
  }
  const int64_t run = box.shape[last];           // a scalar is its only box
  std::vector<int64_t> at(box.start.size(), 0);  // in the box, of the first element of a run
  while (true) {
    int64_t offset = 0;
    for (int d = 0; d <= last; ++d) {
      const auto i = static_cast<size_t>(d);
      offset = offset * shape[d] + box.start[i] + at[i];
    }
    const size_t size = static_cast<size_t>(run) * sizeof(float);
    std::memcpy(tensor.data() + offset, bytes.data(), size);
    bytes.remove_prefix(size);
    int d = last - 1;
    for (; d >= 0 && ++at[static_cast<size_t>(d)] == box.shape[d]; --d) at[static_cast<size_t>(d)] = 0;
    if (d < 0) return;
  }
}

}  // namespace

Result<TensorBundle> TensorBundle::open(const BundlePath& path) {
  const std::string root = path.root.empty() ? fs::path(path.prefix).parent_path().string() : path.root;
  const std::string index_path = bundle_index_path(path.prefix);
  NACRE_RETURN_IF_ERROR(check_within_folder(index_path, root));
  NACRE_ASSIGN_OR_RETURN(const std::vector<std::byte> bytes, read_file(index_path, kMaxBundleIndexBytes));
  auto index = parse_bundle_index({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  if (!index.ok()) return index.status().at(index_path);
  std::vector<Shard> shards;
  for (int i = 0; i < index->num_shards; ++i) {
    const std::string shard = bundle_shard_path(path.prefix, i, index->num_shards);
    std::error_code ignored;
    if (fs::status(shard, ignored).type() == fs::file_type::not_found) {
      return corrupt(shard + ": is not there, but belongs to the bundle");
    }
    NACRE_RETURN_IF_ERROR(check_within_folder(shard, root));
    NACRE_ASSIGN_OR_RETURN(FileBytes file, open_file(shard, /*use_mmap=*/true));
    shards.push_back({shard, std::move(file)});
  }
  return check(std::move(index).value(), std::move(shards));
}

Result<TensorBundle> TensorBundle::parse(std::string_view index, std::vector<FileBytes> shards) {
  NACRE_ASSIGN_OR_RETURN(BundleIndex parsed, parse_bundle_index(index));
  std::vector<Shard> named;
  for (FileBytes& shard : shards) named.push_back({fmt::format("shard {}", named.size()), std::move(shard)});
  if (named.size() != static_cast<size_t>(parsed.num_shards)) {
    return corrupt(fmt::format("has {} data files; the index says {}", named.size(), parsed.num_shards));
  }
  return check(std::move(parsed), std::move(named));
}

Result<TensorBundle> TensorBundle::check(BundleIndex index, std::vector<Shard> shards) {
  TensorBundle bundle;
  bundle.index_ = std::move(index);
  bundle.shards_ = std::move(shards);
  for (size_t i = 0; i < bundle.shards_.size(); ++i) {
    NACRE_RETURN_IF_ERROR(bundle.check_shard(i).at(bundle.shards_[i].name));
  }
  NACRE_RETURN_IF_ERROR(bundle.check_sums());
  return bundle;
}

/// That the tensors cover the shard.
Status TensorBundle::check_shard(size_t shard) const {
  struct Piece {
    uint64_t offset;
    uint64_t size;
    const std::string* name;
  };
  const std::span<const std::byte> bytes = shards_[shard].file.bytes;
  std::vector<Piece> pieces;
  for (const auto& [name, tensor] : index_.tensors) {
    for (const BundlePart& part : tensor.parts) {
      if (static_cast<size_t>(part.shard) != shard) continue;
      // The sizes are not negative numbers of 64 bits, so this does not wrap.
      if (part.offset + part.size > bytes.size()) {
        return corrupt(
            fmt::format("has {} bytes; tensor {:?} ends at {}", bytes.size(), name, part.offset + part.size));
      }
      if (part.size > 0) pieces.push_back({part.offset, part.size, &name});
    }
  }
  std::ranges::sort(pieces, {}, &Piece::offset);
  uint64_t end = 0;
  const auto is_padding = [&](uint64_t until) {
    const auto hole = bytes.subspan(end, until - end);
    return hole.size() < kMaxPadding &&
           std::ranges::all_of(hole, [](std::byte b) { return b == std::byte{0}; });
  };
  for (const Piece& piece : pieces) {
    if (piece.offset < end) {
      return corrupt(fmt::format("tensor {:?} at {} overlaps the one before it", *piece.name, piece.offset));
    }
    if (!is_padding(piece.offset)) {
      return corrupt(
          fmt::format("the bytes from {} to {} belong to no tensor and are no padding", end, piece.offset));
    }
    end = piece.offset + piece.size;
  }
  if (end != bytes.size())
    return corrupt(fmt::format("has {} bytes after its last tensor", bytes.size() - end));
  return {};
}

Status TensorBundle::check_sums() const {
  for (const auto& [name, tensor] : index_.tensors) {
    for (const BundlePart& part : tensor.parts) {
      const Status status = check_sum(tensor.type, part);
      if (status.ok()) continue;
      const std::string& shard = shards_[static_cast<size_t>(part.shard)].name;
      return status.at(fmt::format("{}: tensor {:?}", shard, name));
    }
  }
  return {};
}

Status TensorBundle::check_sum(BundleType type, const BundlePart& part) const {
  const std::string_view bytes = bytes_of(part);
  uint32_t checksum = 0;
  if (type == BundleType::kString) {
    NACRE_ASSIGN_OR_RETURN(checksum, check_texts(bytes, part.shape.num_elements()));
  } else if (element_bytes(type).has_value()) {
    checksum = mask_crc32c(checksum_of(bytes));
  } else {
    return {};
  }
  return checksum == part.checksum ? Status() : corrupt("is damaged: its checksum differs");
}

std::string_view TensorBundle::bytes_of(const BundlePart& part) const {
  const auto bytes = shards_[static_cast<size_t>(part.shard)].file.bytes.subspan(part.offset, part.size);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

Result<Tensor> TensorBundle::floats(std::string_view name) const {
  const BundleTensor& tensor = index_.tensors.find(name)->second;
  if (tensor.type != BundleType::kFloat32) {
    return Status(StatusCode::kUnsupported,
                  fmt::format("tensor {:?} is {}; expected float32", name, type_name(tensor.type)));
  }
  // As large as its bytes, which are there.
  Tensor result(tensor.shape);
  for (const BundlePart& part : tensor.parts) copy_box(part, bytes_of(part), result);
  return result;
}

/// The bytes of a scalar of a type that is accepted.
Result<std::string_view> TensorBundle::scalar(std::string_view name, bool (*accepts)(BundleType),
                                              std::string_view expected) const {
  const BundleTensor& tensor = index_.tensors.find(name)->second;
  if (!accepts(tensor.type) || tensor.shape.rank() != 0) {
    return Status(StatusCode::kUnsupported,
                  fmt::format("tensor {:?} is {} {}; expected a scalar of {}", name, type_name(tensor.type),
                              tensor.shape.to_string(), expected));
  }
  return bytes_of(tensor.parts[0]);
}

Result<int64_t> TensorBundle::integer(std::string_view name) const {
  const auto accepts = [](BundleType type) {
    return type == BundleType::kInt32 || type == BundleType::kInt64;
  };
  NACRE_ASSIGN_OR_RETURN(const std::string_view bytes, scalar(name, accepts, "int32 or int64"));
  if (bytes.size() == sizeof(int32_t))
    return static_cast<int64_t>(static_cast<int32_t>(get_fixed<uint32_t>(bytes)));
  return static_cast<int64_t>(get_fixed<uint64_t>(bytes));
}

Result<std::string> TensorBundle::text(std::string_view name) const {
  const auto accepts = [](BundleType type) { return type == BundleType::kString; };
  NACRE_ASSIGN_OR_RETURN(std::string_view bytes, scalar(name, accepts, "strings"));
  // check_texts has passed: a length, a checksum, and that many bytes.
  take_varint(bytes);
  return std::string(bytes.substr(sizeof(uint32_t)));
}

}  // namespace nacre
