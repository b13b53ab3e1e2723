#include "image/jpeg.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>

#include "image/exif.h"
#include "image/libjpeg.h"
#include "image/limits.h"

// After jpeglib.h, which it builds on.
#include <jerror.h>

namespace nacre {
namespace {

// A scan of a few bytes can touch every coefficient of an image, so a small file with many scans can cost
// hours. Encoders write about ten.
constexpr int kMaxScans = 100;

struct JpegDecoder {
  JpegErrors errors;
  jpeg_decompress_struct info{};
  jpeg_progress_mgr progress{};
  unsigned components_seen = 0;  ///< a bit for each component that a scan has held
  bool too_many_scans = false;

  JpegDecoder() = default;
  JpegDecoder(const JpegDecoder&) = delete;
  JpegDecoder& operator=(const JpegDecoder&) = delete;
  ~JpegDecoder() { jpeg_destroy_decompress(&info); }
};

void on_progress(j_common_ptr common) {
  auto* decoder = static_cast<JpegDecoder*>(common->client_data);
  const jpeg_decompress_struct& info = decoder->info;
  for (int i = 0; i < info.comps_in_scan; ++i) {
    decoder->components_seen |= 1U << info.cur_comp_info[i]->component_index;
  }
  if (info.input_scan_number > kMaxScans) {
    decoder->too_many_scans = true;
    std::longjmp(decoder->errors.escape, 1);
  }
}

/// Reads everything up to the first scan. False on error, which is then in decoder->errors.
bool read_header(JpegDecoder* decoder, const unsigned char* bytes, size_t size) {
  jpeg_decompress_struct* info = &decoder->info;
  info->err = make_strict(&decoder->errors);
  if (setjmp(decoder->errors.escape) != 0) return false;
  jpeg_create_decompress(info);
  info->client_data = decoder;
  decoder->progress.progress_monitor = on_progress;
  info->progress = &decoder->progress;
  jpeg_mem_src(info, bytes, size);
  jpeg_read_header(info, TRUE);
  return true;
}

/// Rows that libjpeg puts out together, of images whose colours have half of the resolution.
constexpr JDIMENSION kRowsAtOnce = 2;

/// Rows to read pixels into, which go with the decoder. None begins at a multiple of 32 bytes: there
/// libjpeg-turbo writes past the caches, and its upsampling, which reads what it has just written, waits for
/// that (half of the time that a small image takes).
std::array<JSAMPROW, kRowsAtOnce> allocate_rows(jpeg_decompress_struct* info, size_t row_bytes) {
  constexpr JDIMENSION kAside = 16;
  JSAMPARRAY const memory =
      (*info->mem->alloc_sarray)(reinterpret_cast<j_common_ptr>(info), JPOOL_IMAGE,
                                 static_cast<JDIMENSION>(row_bytes) + kAside, kRowsAtOnce);
  std::array<JSAMPROW, kRowsAtOnce> rows;
  for (size_t i = 0; i < rows.size(); ++i) {
    const bool aligned = reinterpret_cast<uintptr_t>(memory[i]) % (2 * kAside) == 0;
    rows[i] = memory[i] + (aligned ? kAside : 0);
  }
  return rows;
}

/// Decodes all pixels into `out` (rows of `row_bytes`), and reads on to the end marker. False on error.
bool read_pixels(JpegDecoder* decoder, const InputContract& contract, unsigned char* out, size_t row_bytes) {
  jpeg_decompress_struct* info = &decoder->info;
  if (setjmp(decoder->errors.escape) != 0) return false;
  info->out_color_space = contract.channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
  info->dct_method = contract.jpeg_dct == JpegDct::kFast ? JDCT_IFAST : JDCT_ISLOW;
  info->do_fancy_upsampling = TRUE;
  jpeg_start_decompress(info);
  std::array<JSAMPROW, kRowsAtOnce> rows = allocate_rows(info, row_bytes);
  while (info->output_scanline < info->output_height) {
    unsigned char* const to = out + info->output_scanline * row_bytes;
    const JDIMENSION count = jpeg_read_scanlines(info, rows.data(), kRowsAtOnce);
    for (JDIMENSION i = 0; i < count; ++i) std::copy_n(rows[i], row_bytes, to + i * row_bytes);
  }
  jpeg_finish_decompress(info);
  return true;
}

Status error_of(const JpegDecoder& decoder) {
  if (decoder.too_many_scans) {
    return {StatusCode::kLimit, "JPEG with more than the limit of " + std::to_string(kMaxScans) + " scans"};
  }
  const std::string reason = decoder.errors.message.data();
  const int parameter = decoder.errors.parameter;
  switch (decoder.errors.code) {
    case JERR_IMAGE_TOO_BIG:
    case JERR_OUT_OF_MEMORY:
      return {StatusCode::kLimit, "JPEG: " + reason};
    case JERR_SOF_UNSUPPORTED:
      return {StatusCode::kUnsupported, "JPEG of an unsupported kind: " + reason};
    case JERR_BAD_PRECISION:
      if (parameter == 12 || parameter == 16) {
        return {StatusCode::kUnsupported, "JPEG with " + std::to_string(parameter) + " bits, not 8"};
      }
      break;
    default:
      break;
  }
  return {StatusCode::kBadData, "damaged JPEG: " + reason};
}

Status check_kind(const jpeg_decompress_struct& info) {
  if (info.jpeg_color_space == JCS_CMYK || info.jpeg_color_space == JCS_YCCK) {
    return {StatusCode::kUnsupported, "is a CMYK JPEG; only grey and RGB are supported"};
  }
  if (info.num_components != 1 && info.num_components != 3) {
    return {StatusCode::kUnsupported, "is a JPEG with " + std::to_string(info.num_components) +
                                          " components; only grey (1) and RGB (3) are supported"};
  }
  // Arithmetic coding fills missing data with zeros by definition: a scan that ends early could not be
  // noticed.
  if (info.arith_code != FALSE) {
    return {StatusCode::kUnsupported, "is a JPEG with arithmetic coding; only Huffman coding is supported"};
  }
  return {};
}

}  // namespace

Result<Image> decode_jpeg(std::span<const std::byte> encoded, const InputContract& contract,
                          const ImageLimits& limits) {
  JpegDecoder decoder;
  if (!read_header(&decoder, reinterpret_cast<const unsigned char*>(encoded.data()), encoded.size())) {
    return error_of(decoder);
  }
  const jpeg_decompress_struct& info = decoder.info;
  NACRE_RETURN_IF_ERROR(check_declared_size(info.image_width, info.image_height, limits));
  NACRE_RETURN_IF_ERROR(check_kind(info));

  Image image;
  image.height = info.image_height;
  image.width = info.image_width;
  image.channels = contract.channels;
  const auto row_bytes = static_cast<size_t>(image.width * image.channels);
  image.pixels.resize(row_bytes * static_cast<size_t>(image.height));
  if (!read_pixels(&decoder, contract, image.pixels.data(), row_bytes)) return error_of(decoder);
  // libjpeg shows a component that no scan held as flat, without a warning.
  if (decoder.components_seen != (1U << info.num_components) - 1) {
    return Status(StatusCode::kBadData, "damaged JPEG: not every component has a scan");
  }
  if (contract.exif == ExifPolicy::kApply) return turn_upright(std::move(image), jpeg_orientation(encoded));
  return image;
}

}  // namespace nacre
