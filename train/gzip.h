#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "engine/status.h"

namespace nacre {

/// True when the bytes begin as a gzip file does (1f 8b).
bool is_gzip(std::span<const std::byte> bytes);

/// Most bytes that `compressed` bytes of gzip can inflate to: deflate reaches at most 1032 to 1.
constexpr size_t gzip_upper_bound(size_t compressed) {
  return compressed > SIZE_MAX / 1032 ? SIZE_MAX : compressed * 1032;
}

/// Inflates one gzip member piece by piece, never more than it is asked for. Errors (kBadData) carry no file
/// name.
class GzipReader {
 public:
  /// `compressed` must outlive the reader.
  static Result<std::unique_ptr<GzipReader>> open(std::span<const std::byte> compressed);
  ~GzipReader();
  GzipReader(const GzipReader&) = delete;
  GzipReader& operator=(const GzipReader&) = delete;

  /// The next out.size() bytes; an error when the stream is damaged or ends before.
  Status read(std::span<std::byte> out);
  /// Checks that the stream and the file end here, and gzip's own checksum.
  Status finish();

 private:
  struct Stream;
  explicit GzipReader(std::unique_ptr<Stream> stream);
  std::unique_ptr<Stream> stream_;
};

}  // namespace nacre
