#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/shape.h"
#include "engine/status.h"

namespace nacre {

/// Element types that nacre has a use for; the numbers are TensorFlow's, whose other ones occur too.
enum class BundleType : int { kFloat32 = 1, kInt32 = 3, kString = 7, kInt64 = 9 };

/// Bytes of an element of TensorFlow's type `type`; nothing for those whose elements have no fixed size
/// (strings, variants) or that nacre does not know.
std::optional<size_t> element_bytes(BundleType type);
/// "float32", "string"; "type 42" for those that nacre does not know.
std::string type_name(BundleType type);

/// Elements in a data file: a whole tensor, or a box cut out of it.
struct BundlePart {
  std::vector<int64_t> start;  ///< of the box in the tensor, one number per dimension
  Shape shape;                 ///< of the box
  int shard = 0;
  uint64_t offset = 0;    ///< in the shard
  uint64_t size = 0;      ///< in the shard
  uint32_t checksum = 0;  ///< masked CRC-32C
};

struct BundleTensor {
  BundleType type = BundleType::kFloat32;
  Shape shape;
  std::vector<BundlePart> parts;  ///< of a partitioned variable several; they fill it without overlap
};

/// What the index of a tensor bundle says.
struct BundleIndex {
  int num_shards = 0;
  std::map<std::string, BundleTensor, std::less<>> tensors;
};

/// Reads an index file (table_reader.h). Checked: names, types, shapes, that sizes in bytes are those of the
/// shapes, that slices fill their tensor and belong to one; what the data files hold is checked by their
/// reader. Errors, which do not name the file: kCorrupt; kUnsupported for big-endian data, a newer version,
/// more than 8 dimensions; kLimit.
Result<BundleIndex> parse_bundle_index(std::string_view file);

/// The key that the index has the slice of a tensor under. An extent with length -1 is a whole dimension.
std::string bundle_slice_key(std::string_view name, const std::vector<std::pair<int64_t, int64_t>>& extents);

}  // namespace nacre
