#include "serialize/tensorflow/tensor_bundle_index.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <span>
#include <utility>

#include "schemas/tensorflow/tensor_bundle.pb.h"
#include "serialize/tensorflow/table_reader.h"
#include "serialize/tensorflow/tensor_bundle_format.h"

namespace nacre {
namespace {

/// The most slices of one tensor; they are compared in pairs.
constexpr int kMaxSlices = 1024;
/// The largest entry of the index, in bytes: as many slices of 8 dimensions, and some to spare.
constexpr size_t kMaxEntryBytes = size_t{256} << 10;

Status corrupt(std::string reason) {
  return Status(StatusCode::kCorrupt, std::move(reason));
}

struct TypeInfo {
  int number;
  size_t bytes;  ///< 0: not fixed
  std::string_view name;
};

// TensorFlow's types.proto.
constexpr std::array kTypes{
    TypeInfo{1, 4, "float32"},      TypeInfo{2, 8, "float64"},   TypeInfo{3, 4, "int32"},
    TypeInfo{4, 1, "uint8"},        TypeInfo{5, 2, "int16"},     TypeInfo{6, 1, "int8"},
    TypeInfo{7, 0, "string"},       TypeInfo{8, 8, "complex64"}, TypeInfo{9, 8, "int64"},
    TypeInfo{10, 1, "bool"},        TypeInfo{14, 2, "bfloat16"}, TypeInfo{17, 2, "uint16"},
    TypeInfo{18, 16, "complex128"}, TypeInfo{19, 2, "float16"},  TypeInfo{20, 0, "resource"},
    TypeInfo{21, 0, "variant"},     TypeInfo{22, 4, "uint32"},   TypeInfo{23, 8, "uint64"}};

const TypeInfo* find_type(BundleType type) {
  const auto* found = std::ranges::find(kTypes, static_cast<int>(type), &TypeInfo::number);
  return found == kTypes.end() ? nullptr : found;
}

Result<int> read_header(const std::string& bytes) {
  tensorflow::BundleHeaderProto header;
  if (!header.ParseFromString(bytes)) return corrupt("its header is no BundleHeaderProto");
  const auto unsupported = [](std::string reason) {
    return Status(StatusCode::kUnsupported, std::move(reason));
  };
  if (header.endianness() != tensorflow::BundleHeaderProto::LITTLE) {
    return unsupported("holds big-endian data; expected little-endian");
  }
  const tensorflow::VersionDef& version = header.version();
  if (version.min_consumer() > kTensorBundleVersion ||
      std::ranges::count(version.bad_consumers(), kTensorBundleVersion) > 0) {
    return unsupported(fmt::format(
        "has version {} of the tensor bundle format, for readers of version {} and up; this nacre reads "
        "version {}",
        version.producer(), version.min_consumer(), kTensorBundleVersion));
  }
  if (header.num_shards() < 1)
    return corrupt(fmt::format("says that it has {} data files", header.num_shards()));
  if (header.num_shards() > kMaxBundleShards) {
    return Status(StatusCode::kLimit,
                  fmt::format("has {} data files; the limit is {}", header.num_shards(), kMaxBundleShards));
  }
  return header.num_shards();
}

Result<Shape> read_shape(const tensorflow::BundleEntryProto& entry) {
  if (entry.shape().unknown_rank()) return corrupt("its shape has no rank");
  if (entry.shape().dim_size() > Shape::kMaxRank) {
    return Status(StatusCode::kUnsupported, fmt::format("it has {} dimensions; nacre reads up to {}",
                                                        entry.shape().dim_size(), Shape::kMaxRank));
  }
  std::vector<int64_t> dims;
  for (const auto& dim : entry.shape().dim()) dims.push_back(dim.size());
  auto shape = Shape::make(dims);
  if (!shape.ok()) return corrupt(shape.status().message());
  return shape;
}

/// Where the entry of a tensor or a slice says that its elements lie.
Result<BundlePart> read_part(const tensorflow::BundleEntryProto& entry, const Shape& shape, int num_shards) {
  if (entry.shard_id() < 0 || entry.shard_id() >= num_shards) {
    return corrupt(fmt::format("it lies in data file {} of {}", entry.shard_id(), num_shards));
  }
  if (entry.offset() < 0 || entry.size() < 0) {
    return corrupt(fmt::format("it has {} bytes at {}", entry.size(), entry.offset()));
  }
  BundlePart part;
  part.start.assign(static_cast<size_t>(shape.rank()), 0);
  part.shape = shape;
  part.shard = entry.shard_id();
  part.offset = static_cast<uint64_t>(entry.offset());
  part.size = static_cast<uint64_t>(entry.size());
  part.checksum = entry.crc32c();
  const auto type = static_cast<BundleType>(entry.dtype());
  // Shape::make keeps the elements under 2^48.
  if (const auto bytes = element_bytes(type);
      bytes.has_value() && part.size != static_cast<uint64_t>(shape.num_elements()) * *bytes) {
    return corrupt(fmt::format("it has {} bytes; its shape {} of {} asks for {}", part.size,
                               shape.to_string(), type_name(type),
                               static_cast<uint64_t>(shape.num_elements()) * *bytes));
  }
  return part;
}

/// A box within a tensor.
struct Box {
  std::vector<std::pair<int64_t, int64_t>> extents;  ///< start and length; length -1: the whole dimension
  std::vector<int64_t> start;
  Shape shape;
};

Result<Box> read_slice(const tensorflow::TensorSliceProto& slice, const Shape& whole) {
  if (slice.extent_size() != whole.rank()) {
    return corrupt(
        fmt::format("a slice has {} dimensions, the tensor {}", slice.extent_size(), whole.rank()));
  }
  Box box;
  std::vector<int64_t> dims;
  for (int i = 0; i < whole.rank(); ++i) {
    const auto& extent = slice.extent(i);
    const bool all = extent.has_length_case() == tensorflow::TensorSliceProto::Extent::HAS_LENGTH_NOT_SET;
    const int64_t length = all ? whole[i] : extent.length();
    if (extent.start() < 0 || length < 0 || length > whole[i] || extent.start() > whole[i] - length) {
      return corrupt(fmt::format("a slice takes {} from {} of dimension {}, which has {}", length,
                                 extent.start(), i, whole[i]));
    }
    box.extents.emplace_back(extent.start(), all ? -1 : length);
    box.start.push_back(extent.start());
    dims.push_back(length);
  }
  // No larger than the whole, whose size is known to be possible.
  NACRE_ASSIGN_OR_RETURN(box.shape, Shape::make(dims));
  return box;
}

bool overlap(const BundlePart& a, const BundlePart& b) {
  for (int i = 0; i < a.shape.rank(); ++i) {
    const auto d = static_cast<size_t>(i);
    if (a.start[d] + a.shape[i] <= b.start[d] || b.start[d] + b.shape[i] <= a.start[d]) return false;
  }
  return true;
}

/// Parts within a tensor fill it when they do not overlap and have as many elements.
Status check_filled(const BundleTensor& tensor) {
  int64_t elements = 0;
  for (size_t i = 0; i < tensor.parts.size(); ++i) {
    elements += tensor.parts[i].shape.num_elements();
    for (size_t j = 0; j < i; ++j) {
      if (overlap(tensor.parts[i], tensor.parts[j])) return corrupt("two of its slices overlap");
    }
  }
  if (elements != tensor.shape.num_elements()) {
    return corrupt(
        fmt::format("its slices have {} of its {} elements", elements, tensor.shape.num_elements()));
  }
  return {};
}

Result<tensorflow::BundleEntryProto> parse_entry(std::string_view bytes) {
  // What unfolds to many times its size is bounded before.
  if (bytes.size() > kMaxEntryBytes) {
    return Status(StatusCode::kLimit,
                  fmt::format("its entry has {} bytes; the limit is {}", bytes.size(), kMaxEntryBytes));
  }
  tensorflow::BundleEntryProto entry;
  if (!entry.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return corrupt("its entry is no BundleEntryProto");
  }
  return entry;
}

class IndexParser {
 public:
  Result<BundleIndex> parse(std::string_view file) {
    NACRE_ASSIGN_OR_RETURN(const std::vector<TableEntry> lines, parse_table(file));
    if (lines.empty() || !lines[0].key.empty()) {
      return corrupt("has no header: it is no index of a tensor bundle");
    }
    NACRE_ASSIGN_OR_RETURN(index_.num_shards, read_header(lines[0].value));
    // The keys of slices begin with NUL, so they come before all names.
    for (const TableEntry& line : std::span(lines).subspan(1)) {
      if (line.key[0] == '\0') {
        slices_.emplace(line.key, line.value);
        continue;
      }
      if (line.key.size() > kMaxTensorNameBytes || line.key.find('\0') != std::string::npos) {
        return corrupt(fmt::format("a tensor has the name {:?}; expected 1 to {} bytes without NUL", line.key,
                                   kMaxTensorNameBytes));
      }
      auto tensor = read_tensor(line.key, line.value);
      if (!tensor.ok()) return tensor.status().at(fmt::format("tensor {:?}", line.key));
      index_.tensors.emplace(line.key, std::move(tensor).value());
    }
    if (!slices_.empty()) {
      return corrupt(fmt::format("the slice {:?} belongs to no tensor", slices_.begin()->first));
    }
    return std::move(index_);
  }

 private:
  Result<BundleTensor> read_tensor(std::string_view name, std::string_view value) {
    NACRE_ASSIGN_OR_RETURN(const tensorflow::BundleEntryProto entry, parse_entry(value));
    if (entry.dtype() <= 0 || entry.dtype() >= tensorflow::DT_FLOAT_REF) {
      return corrupt(fmt::format("it has the element type {}", static_cast<int>(entry.dtype())));
    }
    BundleTensor tensor;
    tensor.type = static_cast<BundleType>(entry.dtype());
    NACRE_ASSIGN_OR_RETURN(tensor.shape, read_shape(entry));
    if (entry.slices_size() == 0) {
      NACRE_ASSIGN_OR_RETURN(BundlePart part, read_part(entry, tensor.shape, index_.num_shards));
      tensor.parts.push_back(std::move(part));
      return tensor;
    }
    if (entry.slices_size() > kMaxSlices) {
      return Status(StatusCode::kLimit,
                    fmt::format("it has {} slices; the limit is {}", entry.slices_size(), kMaxSlices));
    }
    if (!element_bytes(tensor.type).has_value()) {
      return Status(StatusCode::kUnsupported, "it has slices of type " + type_name(tensor.type));
    }
    for (const tensorflow::TensorSliceProto& slice : entry.slices()) {
      NACRE_ASSIGN_OR_RETURN(BundlePart part, take_slice(name, tensor, slice));
      tensor.parts.push_back(std::move(part));
    }
    NACRE_RETURN_IF_ERROR(check_filled(tensor));
    return tensor;
  }

  /// The slice's own entry, which is used up.
  Result<BundlePart> take_slice(std::string_view name, const BundleTensor& whole,
                                const tensorflow::TensorSliceProto& slice) {
    NACRE_ASSIGN_OR_RETURN(const Box box, read_slice(slice, whole.shape));
    const auto found = slices_.find(bundle_slice_key(name, box.extents));
    if (found == slices_.end()) return corrupt("one of its slices has no entry, or is named twice");
    NACRE_ASSIGN_OR_RETURN(const tensorflow::BundleEntryProto entry, parse_entry(found->second));
    slices_.erase(found);
    if (static_cast<BundleType>(entry.dtype()) != whole.type || entry.slices_size() != 0) {
      return corrupt("the entry of one of its slices is of another type");
    }
    NACRE_ASSIGN_OR_RETURN(const Shape shape, read_shape(entry));
    if (!(shape == box.shape)) {
      return corrupt(fmt::format("the entry of one of its slices is {}, expected {}", shape.to_string(),
                                 box.shape.to_string()));
    }
    NACRE_ASSIGN_OR_RETURN(BundlePart part, read_part(entry, shape, index_.num_shards));
    part.start = box.start;
    return part;
  }

  BundleIndex index_;
  std::map<std::string_view, std::string_view> slices_;  ///< that no tensor has claimed yet
};

// Keys of slices are in TensorFlow's ordered code, whose bytes compare as the values do.

/// A length of bytes, then the number's bytes without leading zeros, highest first.
void put_ordered(std::string& to, uint64_t value) {
  std::string bytes;
  for (; value > 0; value >>= 8) bytes.insert(bytes.begin(), static_cast<char>(value & 0xff));
  to += static_cast<char>(bytes.size());
  to += bytes;
}

void put_ordered_text(std::string& to, std::string_view text) {
  for (const char c : text) {
    to += c;
    if (c == '\0') to += '\xff';
    if (c == '\xff') to += '\0';
  }
  to += std::string_view("\0\1", 2);
}

/// 7 bits a byte, highest first, in two's complement; the first bits say how many bytes there are (as many
/// ones as bytes, then a zero; all of it inverted for negative numbers).
void put_ordered_signed(std::string& to, int64_t value) {
  const auto magnitude = static_cast<uint64_t>(value < 0 ? ~value : value);
  size_t length = 1;
  while (length < 10 && magnitude >> (7 * length - 1) != 0) ++length;
  std::string bytes(length, value < 0 ? '\xff' : '\0');
  for (size_t i = 0; i < std::min(length, sizeof(value)); ++i) {
    bytes[length - 1 - i] = static_cast<char>(static_cast<uint64_t>(value) >> (8 * i) & 0xff);
  }
  for (size_t bit = 0; bit < length; ++bit)
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (0x80 >> bit % 8));
  to += bytes;
}

}  // namespace

std::optional<size_t> element_bytes(BundleType type) {
  const TypeInfo* info = find_type(type);
  if (info == nullptr || info->bytes == 0) return std::nullopt;
  return info->bytes;
}

std::string type_name(BundleType type) {
  const TypeInfo* info = find_type(type);
  return info == nullptr ? fmt::format("type {}", static_cast<int>(type)) : std::string(info->name);
}

std::string bundle_slice_key(std::string_view name, const std::vector<std::pair<int64_t, int64_t>>& extents) {
  std::string key;
  put_ordered(key, 0);
  put_ordered_text(key, name);
  put_ordered(key, extents.size());
  for (const auto& [start, length] : extents) {
    put_ordered_signed(key, start);
    put_ordered_signed(key, length);
  }
  return key;
}

Result<BundleIndex> parse_bundle_index(std::string_view file) {
  return IndexParser().parse(file);
}

}  // namespace nacre
