#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "image/decode.h"

namespace nacre::test {

using Bytes = std::vector<std::byte>;

/// Bytes from numbers 0 to 255.
Bytes bytes_of(std::initializer_list<int> values);
Bytes bytes_of(std::string_view text);
Bytes concat(std::initializer_list<Bytes> parts);

/// An image whose pixels are all different enough to tell rows, columns and channels apart.
Image gradient(int64_t height, int64_t width, int64_t channels);

/// A contract that decodes at the given size without resizing.
InputContract contract_for(int64_t height, int64_t width, int64_t channels);

/// A folder for one test, removed with all that is in it.
class TempFolder {
 public:
  TempFolder();
  ~TempFolder();
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  [[nodiscard]] std::string path(const std::string& name) const { return (folder_ / name).string(); }
  /// Writes a file and returns its path.
  [[nodiscard]] std::string write(const std::string& name, const Bytes& bytes) const;

 private:
  std::filesystem::path folder_;
};

/// A PNG taken apart. `crc_flip` is xored to the checksum when it is put together again.
struct PngChunk {
  std::string type;
  Bytes payload;
  uint32_t crc_flip = 0;
};
std::vector<PngChunk> split_png(const Bytes& png);
Bytes join_png(const std::vector<PngChunk>& chunks);
/// The first chunk of `type`.
PngChunk& find_chunk(std::vector<PngChunk>& chunks, std::string_view type);

/// A PNG of any kind: `samples` are height x width x samples-per-pixel values of `bit_depth` bits. All five
/// filters are used in turn.
struct PngSpec {
  int width = 1;
  int height = 1;
  int bit_depth = 8;
  int color_type = 0;
  bool interlaced = false;
  std::vector<int> samples;
  Bytes palette;
  Bytes transparency;
};
Bytes make_png(const PngSpec& spec);
Bytes deflate_bytes(const Bytes& bytes);

/// A JPEG taken apart: segments up to and including SOS, each with its marker, its length field and its
/// payload; then the rest (entropy-coded data, further segments, EOI) as it is.
struct JpegSegment {
  int marker = 0;
  Bytes payload;
  int length_error = 0;  ///< added to the length field when put together
};
struct JpegParts {
  std::vector<JpegSegment> segments;
  Bytes rest;
};
JpegParts split_jpeg(const Bytes& jpeg);
Bytes join_jpeg(const JpegParts& parts);
/// The first segment with `marker`, e.g. 0xC4 for DHT.
JpegSegment& find_segment(JpegParts& parts, int marker);

/// What make_jpeg varies beyond image/encode.h.
struct JpegSpec {
  int quality = 90;
  bool progressive = false;
  bool cmyk = false;  ///< four components, the image's first three and 0
  bool ycck = false;  ///< the same, stored as YCCK
  bool arithmetic = false;
  bool full_chroma = false;     ///< 4:4:4
  bool separate_scans = false;  ///< sequential, a scan for each of three components
  int restart_interval = 0;
};
Bytes make_jpeg(const Image& image, const JpegSpec& spec);

/// An APP1 segment with an orientation, in either byte order.
JpegSegment exif_segment(int orientation, bool big_endian);

/// The pixels that libjpeg gives when it is called the plain way.
Image decode_with_libjpeg(const Bytes& jpeg, int channels, bool fast_dct);

}  // namespace nacre::test
