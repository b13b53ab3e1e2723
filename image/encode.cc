#include "image/encode.h"

#include <zlib.h>

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <span>
#include <string>

#include "image/libjpeg.h"
#include "image/limits.h"
#include "image/png_chunk.h"
#include "image/png_walker.h"

// After jpeglib.h, which it builds on.
#include <jerror.h>

namespace nacre {
namespace {

Status check_encodable(const Image& image, int64_t max_side) {
  ImageLimits limits;
  limits.max_side = max_side;
  limits.max_pixels = std::numeric_limits<int32_t>::max() / 4;
  NACRE_RETURN_IF_ERROR(check_declared_size(image.width, image.height, limits));
  if (image.channels != 1 && image.channels != 3) {
    return {StatusCode::kBadData,
            "an image to encode has " + std::to_string(image.channels) + " channels, not 1 or 3"};
  }
  const auto expected = static_cast<size_t>(image.height * image.width * image.channels);
  if (image.pixels.size() != expected) {
    return {StatusCode::kBadData, "an image to encode has " + std::to_string(image.pixels.size()) +
                                      " bytes, not " + std::to_string(expected)};
  }
  return {};
}

/// libjpeg's encoder and the memory that it writes to, freed whatever happens. libjpeg's own jpeg_mem_dest
/// would leave `buffer` dangling after an error.
struct JpegEncoder {
  JpegErrors errors;
  jpeg_compress_struct info{};
  jpeg_destination_mgr destination{};
  unsigned char* buffer = nullptr;
  size_t capacity = 0;
  size_t size = 0;

  JpegEncoder() = default;
  JpegEncoder(const JpegEncoder&) = delete;
  JpegEncoder& operator=(const JpegEncoder&) = delete;
  ~JpegEncoder() {
    jpeg_destroy_compress(&info);
    std::free(buffer);
  }
};

/// Doubles the buffer, whose first `used` bytes are written.
void grow(j_compress_ptr info, size_t used) {
  constexpr size_t kFirstBytes = 16384;
  auto* encoder = static_cast<JpegEncoder*>(info->client_data);
  const size_t capacity = std::max(kFirstBytes, 2 * encoder->capacity);
  void* memory = std::realloc(encoder->buffer, capacity);
  if (memory == nullptr) {
    info->err->msg_code = JERR_OUT_OF_MEMORY;
    info->err->error_exit(reinterpret_cast<j_common_ptr>(info));
  }
  encoder->buffer = static_cast<unsigned char*>(memory);
  encoder->capacity = capacity;
  info->dest->next_output_byte = encoder->buffer + used;
  info->dest->free_in_buffer = capacity - used;
}

void on_begin(j_compress_ptr info) {
  grow(info, 0);
}

boolean on_full(j_compress_ptr info) {
  grow(info, static_cast<JpegEncoder*>(info->client_data)->capacity);
  return TRUE;
}

void on_end(j_compress_ptr info) {
  auto* encoder = static_cast<JpegEncoder*>(info->client_data);
  encoder->size = encoder->capacity - info->dest->free_in_buffer;
}

/// False on error, which is then in encoder->errors.
bool compress(JpegEncoder* encoder, const Image* image, int quality) {
  jpeg_compress_struct* info = &encoder->info;
  info->err = make_strict(&encoder->errors);
  if (setjmp(encoder->errors.escape) != 0) return false;
  jpeg_create_compress(info);
  info->client_data = encoder;
  encoder->destination.init_destination = on_begin;
  encoder->destination.empty_output_buffer = on_full;
  encoder->destination.term_destination = on_end;
  info->dest = &encoder->destination;
  info->image_width = static_cast<JDIMENSION>(image->width);
  info->image_height = static_cast<JDIMENSION>(image->height);
  info->input_components = static_cast<int>(image->channels);
  info->in_color_space = image->channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
  jpeg_set_defaults(info);
  jpeg_set_quality(info, quality, TRUE);
  jpeg_start_compress(info, TRUE);
  const auto row_bytes = static_cast<size_t>(image->width * image->channels);
  while (info->next_scanline < info->image_height) {
    // libjpeg does not write to its input; its declaration lacks the const.
    JSAMPROW row = const_cast<JSAMPROW>(image->pixels.data() + info->next_scanline * row_bytes);
    jpeg_write_scanlines(info, &row, 1);
  }
  jpeg_finish_compress(info);
  return true;
}

void append_u32(std::vector<std::byte>* out, int64_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) out->push_back(static_cast<std::byte>(value >> shift & 0xFF));
}

}  // namespace

Result<std::vector<std::byte>> encode_png(const Image& image) {
  NACRE_RETURN_IF_ERROR(check_encodable(image, int64_t{1} << 24));
  // Each row is preceded by its filter; 0 is none.
  const auto row_bytes = static_cast<size_t>(image.width * image.channels);
  std::vector<uint8_t> rows;
  rows.reserve((row_bytes + 1) * static_cast<size_t>(image.height));
  for (auto row = image.pixels.begin(); row != image.pixels.end(); row += static_cast<ptrdiff_t>(row_bytes)) {
    rows.push_back(0);
    rows.insert(rows.end(), row, row + static_cast<ptrdiff_t>(row_bytes));
  }
  uLongf size = compressBound(static_cast<uLong>(rows.size()));
  std::vector<std::byte> compressed(size);
  if (compress2(reinterpret_cast<Bytef*>(compressed.data()), &size, rows.data(),
                static_cast<uLong>(rows.size()), Z_DEFAULT_COMPRESSION) != Z_OK) {
    return Status(StatusCode::kInternal, "zlib cannot compress an image");
  }
  compressed.resize(size);

  std::vector<std::byte> header;
  append_u32(&header, image.width);
  append_u32(&header, image.height);
  const std::byte color_type{image.channels == 1 ? uint8_t{0} : uint8_t{2}};
  header.insert(header.end(), {std::byte{8}, color_type, std::byte{0}, std::byte{0}, std::byte{0}});

  std::vector<std::byte> png;
  const auto signature = std::as_bytes(std::span(kPngSignature));
  png.assign(signature.begin(), signature.end());
  append_png_chunk(&png, "IHDR", header);
  append_png_chunk(&png, "IDAT", compressed);
  append_png_chunk(&png, "IEND", {});
  return png;
}

Result<std::vector<std::byte>> encode_jpeg(const Image& image, int quality) {
  NACRE_RETURN_IF_ERROR(check_encodable(image, JPEG_MAX_DIMENSION));
  JpegEncoder encoder;
  if (!compress(&encoder, &image, std::clamp(quality, 1, 100))) {
    return Status(StatusCode::kInternal,
                  std::string("libjpeg cannot encode an image: ") + encoder.errors.message.data());
  }
  const auto* begin = reinterpret_cast<const std::byte*>(encoder.buffer);
  return std::vector<std::byte>(begin, begin + encoder.size);
}

}  // namespace nacre
