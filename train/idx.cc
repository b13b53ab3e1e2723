#include "train/idx.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <initializer_list>
#include <utility>

#include "engine/file.h"
#include "train/gzip.h"

namespace nacre {
namespace {

constexpr size_t kMaxIdxBytes = size_t{4} << 30;
constexpr int64_t kMaxSide = 1 << 14;
constexpr size_t kMagicBytes = 4;
constexpr size_t kExtentBytes = 4;
constexpr std::byte kUnsignedByte{0x08};
constexpr size_t kMaxRank = 4;

Status bad(std::string reason) {
  return {StatusCode::kBadData, std::move(reason)};
}

std::string hex_bytes(std::span<const std::byte> bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const std::byte byte : bytes) {
    if (!text.empty()) text += ' ';
    text += kDigits[std::to_integer<unsigned>(byte) >> 4];
    text += kDigits[std::to_integer<unsigned>(byte) & 15U];
  }
  return text;
}

Result<size_t> parse_rank(std::span<const std::byte> magic) {
  const size_t rank = std::to_integer<size_t>(magic[3]);
  if (magic[0] != std::byte{0} || magic[1] != std::byte{0} || magic[2] != kUnsignedByte || rank < 1 ||
      rank > kMaxRank) {
    return bad("wrong magic number " + hex_bytes(magic.first(kMagicBytes)) +
               ": expected an IDX file of unsigned bytes, 00 00 08 and a rank from 1 to 4");
  }
  return rank;
}

Result<std::vector<int64_t>> parse_dims(std::span<const std::byte> bytes) {
  std::vector<int64_t> dims;
  for (size_t at = 0; at < bytes.size(); at += kExtentBytes) {
    int64_t extent = 0;
    for (size_t i = 0; i < kExtentBytes; ++i) extent = extent << 8 | std::to_integer<int64_t>(bytes[at + i]);
    if (extent == 0) return bad("dimension " + std::to_string(dims.size()) + " is 0");
    dims.push_back(extent);
  }
  return dims;
}

std::string dims_text(std::span<const int64_t> dims) {
  std::string text = "[";
  for (const int64_t extent : dims) text += (text.size() > 1 ? ", " : "") + std::to_string(extent);
  return text + "]";
}

// The product of the extents, when it is no larger than `limit` (the bytes there can be).
Result<size_t> checked_product(std::span<const int64_t> dims, size_t limit) {
  size_t product = 1;
  for (const int64_t extent : dims) {
    if (__builtin_mul_overflow(product, static_cast<size_t>(extent), &product) || product > limit) {
      return bad("short data: dimensions " + dims_text(dims) + " need more than the " +
                 std::to_string(limit) + " bytes that the file can hold");
    }
  }
  return product;
}

Result<IdxArray> parse_plain(std::vector<std::byte> file) {
  const std::span<const std::byte> bytes(file);
  if (bytes.size() < kMagicBytes)
    return bad("short file: " + std::to_string(bytes.size()) + " bytes, no IDX header");
  NACRE_ASSIGN_OR_RETURN(const size_t rank, parse_rank(bytes));
  const size_t header = kMagicBytes + rank * kExtentBytes;
  if (bytes.size() < header) return bad("short file: the IDX header is cut off");
  IdxArray array;
  NACRE_ASSIGN_OR_RETURN(array.dims, parse_dims(bytes.subspan(kMagicBytes, rank * kExtentBytes)));
  const size_t rest = bytes.size() - header;
  NACRE_ASSIGN_OR_RETURN(const size_t product, checked_product(array.dims, rest));
  if (product != rest) {
    return bad("trailing data: dimensions " + dims_text(array.dims) + " need " + std::to_string(product) +
               " bytes, found " + std::to_string(rest));
  }
  array.storage = std::move(file);
  array.offset = header;
  return array;
}

Result<IdxArray> parse_gzip(std::span<const std::byte> file) {
  NACRE_ASSIGN_OR_RETURN(auto reader, GzipReader::open(file));
  std::array<std::byte, kMagicBytes + kMaxRank * kExtentBytes> header{};
  const std::span<std::byte> bytes(header);
  NACRE_RETURN_IF_ERROR(reader->read(bytes.first(kMagicBytes)));
  NACRE_ASSIGN_OR_RETURN(const size_t rank, parse_rank(bytes));
  const std::span<std::byte> extents = bytes.subspan(kMagicBytes, rank * kExtentBytes);
  NACRE_RETURN_IF_ERROR(reader->read(extents));
  IdxArray array;
  NACRE_ASSIGN_OR_RETURN(array.dims, parse_dims(extents));
  NACRE_ASSIGN_OR_RETURN(const size_t product, checked_product(array.dims, gzip_upper_bound(file.size())));
  if (product > kMaxIdxBytes) {
    return Status(StatusCode::kLimit, "dimensions " + dims_text(array.dims) + " need " +
                                          std::to_string(product) + " bytes, the limit is " +
                                          std::to_string(kMaxIdxBytes));
  }
  array.storage.resize(product);
  NACRE_RETURN_IF_ERROR(reader->read(array.storage));
  NACRE_RETURN_IF_ERROR(reader->finish());
  return array;
}

std::string find_file(const std::string& folder, const std::string& prefix,
                      std::initializer_list<const char*> kinds) {
  for (const char* kind : kinds) {
    for (const char* end : {"", ".gz"}) {
      std::string path = (std::filesystem::path(folder) / (prefix + "-" + kind + "-ubyte" + end)).string();
      std::error_code error;
      if (std::filesystem::exists(path, error)) return path;
    }
  }
  return {};
}

}  // namespace

Result<IdxArray> parse_idx(std::vector<std::byte> file) {
  return is_gzip(file) ? parse_gzip(file) : parse_plain(std::move(file));
}

Result<IdxArray> read_idx(const std::string& path) {
  NACRE_ASSIGN_OR_RETURN(std::vector<std::byte> file, read_file(path, kMaxIdxBytes));
  Result<IdxArray> array = parse_idx(std::move(file));
  if (!array.ok()) return array.status().at(path);
  return array;
}

std::string find_idx_images(const std::string& folder, const std::string& prefix) {
  return find_file(folder, prefix, {"images-idx3", "images-idx4"});
}

Result<IdxPair> read_idx_pair(const std::string& folder, const std::string& prefix) {
  IdxPair pair;
  pair.images_path = find_idx_images(folder, prefix);
  if (pair.images_path.empty()) {
    return Status(StatusCode::kIo,
                  folder + ": no " + prefix + "-images-idx3-ubyte or " + prefix + "-images-idx3-ubyte.gz");
  }
  pair.labels_path = find_file(folder, prefix, {"labels-idx1"});
  if (pair.labels_path.empty()) {
    return Status(StatusCode::kIo,
                  folder + ": no " + prefix + "-labels-idx1-ubyte or " + prefix + "-labels-idx1-ubyte.gz");
  }
  NACRE_ASSIGN_OR_RETURN(pair.images, read_idx(pair.images_path));
  NACRE_ASSIGN_OR_RETURN(pair.labels, read_idx(pair.labels_path));

  const std::vector<int64_t>& dims = pair.images.dims;
  if (dims.size() != 3 && dims.size() != 4) {
    return bad("expected images [N, H, W] or [N, H, W, C], found rank " + std::to_string(dims.size()))
        .at(pair.images_path);
  }
  if (dims[1] > kMaxSide || dims[2] > kMaxSide) {
    return bad("images of " + std::to_string(dims[1]) + "x" + std::to_string(dims[2]) +
               " pixels, expected sides up to " + std::to_string(kMaxSide))
        .at(pair.images_path);
  }
  if (dims.size() == 4 && dims[3] != 1 && dims[3] != 3) {
    return bad("expected 1 or 3 channels, found " + std::to_string(dims[3])).at(pair.images_path);
  }
  if (pair.labels.dims.size() != 1) {
    return bad("expected labels of rank 1, found rank " + std::to_string(pair.labels.dims.size()))
        .at(pair.labels_path);
  }
  if (pair.labels.dims[0] != dims[0]) {
    return bad("holds " + std::to_string(pair.labels.dims[0]) + " labels, but " + pair.images_path +
               " holds " + std::to_string(dims[0]) + " images")
        .at(pair.labels_path);
  }
  return pair;
}

}  // namespace nacre
