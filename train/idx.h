#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/status.h"

namespace nacre {

/// An array of unsigned bytes from an IDX file (LeCun's MNIST format: 00 00 08 rank, rank big-endian 32-bit
/// extents, data).
struct IdxArray {
  std::vector<int64_t> dims;       ///< outermost first, each at least 1
  std::vector<std::byte> storage;  ///< data starts at `offset`
  size_t offset = 0;

  [[nodiscard]] std::span<const std::byte> bytes() const { return std::span(storage).subspan(offset); }
};

/// Parses the bytes of an IDX file, plain or gzip (told by content). The data must be exactly what the header
/// announces; nothing is allocated before the header has been checked against the bytes there are. Errors
/// (kBadData; kLimit above 4 GiB) carry no file name.
Result<IdxArray> parse_idx(std::vector<std::byte> file);

/// Reads and parses an IDX file. Errors are `path: reason`; kIo when it cannot be read.
Result<IdxArray> read_idx(const std::string& path);

/// Pictures and their classes, of equal number.
struct IdxPair {
  IdxArray images;  ///< [N, H, W] or [N, H, W, C], C = 1 or 3, H and W up to 16384
  IdxArray labels;  ///< [N]
  std::string images_path;
  std::string labels_path;
};

/// Reads `PREFIX-images-idx3-ubyte[.gz]` (or idx4 for [N, H, W, C]) and `PREFIX-labels-idx1-ubyte[.gz]` of a
/// folder, where PREFIX is "train" or "t10k". kIo when a file is missing, kBadData when the two disagree.
Result<IdxPair> read_idx_pair(const std::string& folder, const std::string& prefix);

/// The path of `PREFIX-images-idx3-ubyte` or of one of its variants; empty when there is none.
std::string find_idx_images(const std::string& folder, const std::string& prefix);

}  // namespace nacre
