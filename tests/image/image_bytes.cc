#include "tests/image/image_bytes.h"

#include <stdlib.h>
#include <zlib.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <stdexcept>

#include <jpeglib.h>

namespace nacre::test {
namespace {

uint32_t u32_at(const Bytes& bytes, size_t i) {
  uint32_t value = 0;
  for (size_t k = 0; k < 4; ++k) value = value << 8 | std::to_integer<uint32_t>(bytes.at(i + k));
  return value;
}

void push_u32(Bytes* out, uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) out->push_back(static_cast<std::byte>(value >> shift & 0xFF));
}

int samples_of(int color_type) {
  switch (color_type) {
    case 2:
      return 3;
    case 4:
      return 2;
    case 6:
      return 4;
    default:
      return 1;
  }
}

int paeth(int a, int b, int c) {
  const int p = a + b - c;
  const int pa = std::abs(p - a);
  const int pb = std::abs(p - b);
  const int pc = std::abs(p - c);
  if (pa <= pb && pa <= pc) return a;
  return pb <= pc ? b : c;
}

/// Appends one interlace pass (or the whole image) as filtered rows.
void append_pass(const PngSpec& spec, int x0, int y0, int dx, int dy, Bytes* out) {
  const int samples = samples_of(spec.color_type);
  const auto pixel_bytes = static_cast<size_t>(std::max(1, samples * spec.bit_depth / 8));
  std::vector<int> above;
  for (int y = y0, row_number = 0; y < spec.height; y += dy, ++row_number) {
    std::vector<int> row;
    int bits = 0;
    int bit_count = 0;
    for (int x = x0; x < spec.width; x += dx) {
      for (int s = 0; s < samples; ++s) {
        bits =
            bits << spec.bit_depth | spec.samples.at(static_cast<size_t>((y * spec.width + x) * samples + s));
        for (bit_count += spec.bit_depth; bit_count >= 8; bit_count -= 8)
          row.push_back(bits >> (bit_count - 8) & 0xFF);
        bits &= 0xFF;
      }
    }
    if (bit_count > 0) row.push_back(bits << (8 - bit_count) & 0xFF);
    if (row.empty()) return;
    above.resize(row.size());
    const int filter = row_number % 5;
    out->push_back(static_cast<std::byte>(filter));
    for (size_t i = 0; i < row.size(); ++i) {
      const int left = i >= pixel_bytes ? row[i - pixel_bytes] : 0;
      const int corner = i >= pixel_bytes ? above[i - pixel_bytes] : 0;
      const int predictions[] = {0, left, above[i], (left + above[i]) / 2, paeth(left, above[i], corner)};
      out->push_back(static_cast<std::byte>((row[i] - predictions[filter]) & 0xFF));
    }
    above = row;
  }
}

}  // namespace

Bytes bytes_of(std::initializer_list<int> values) {
  Bytes bytes;
  for (const int value : values) bytes.push_back(static_cast<std::byte>(value));
  return bytes;
}

Bytes bytes_of(std::string_view text) {
  Bytes bytes;
  for (const char c : text) bytes.push_back(static_cast<std::byte>(c));
  return bytes;
}

Bytes concat(std::initializer_list<Bytes> parts) {
  Bytes all;
  for (const Bytes& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

Image gradient(int64_t height, int64_t width, int64_t channels) {
  Image image{height, width, channels, {}};
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      for (int64_t c = 0; c < channels; ++c) {
        image.pixels.push_back(static_cast<uint8_t>(20 + 11 * x * (c + 1) + 7 * y * (3 - c) + 5 * c));
      }
    }
  }
  return image;
}

InputContract contract_for(int64_t height, int64_t width, int64_t channels) {
  InputContract contract;
  contract.height = height;
  contract.width = width;
  contract.channels = channels;
  return contract;
}

TempFolder::TempFolder() {
  std::string name = (std::filesystem::temp_directory_path() / "nacre-test-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
  folder_ = name;
}

TempFolder::~TempFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

std::string TempFolder::write(const std::string& name, const Bytes& bytes) const {
  std::ofstream out(path(name), std::ios::binary);
  out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  if (!out.flush()) throw std::runtime_error("cannot write " + name);
  return path(name);
}

std::vector<PngChunk> split_png(const Bytes& png) {
  std::vector<PngChunk> chunks;
  for (size_t position = 8; position < png.size();) {
    const auto length = static_cast<ptrdiff_t>(u32_at(png, position));
    const auto type = png.begin() + static_cast<ptrdiff_t>(position) + 4;
    PngChunk chunk;
    for (auto c = type; c != type + 4; ++c) chunk.type.push_back(static_cast<char>(*c));
    chunk.payload.assign(type + 4, type + 4 + length);
    chunks.push_back(chunk);
    position += 12 + static_cast<size_t>(length);
  }
  return chunks;
}

Bytes join_png(const std::vector<PngChunk>& chunks) {
  Bytes png = bytes_of({0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'});
  for (const PngChunk& chunk : chunks) {
    push_u32(&png, static_cast<uint32_t>(chunk.payload.size()));
    const Bytes typed = concat({bytes_of(chunk.type), chunk.payload});
    png.insert(png.end(), typed.begin(), typed.end());
    const auto crc = crc32(0, reinterpret_cast<const Bytef*>(typed.data()), static_cast<uInt>(typed.size()));
    push_u32(&png, static_cast<uint32_t>(crc) ^ chunk.crc_flip);
  }
  return png;
}

PngChunk& find_chunk(std::vector<PngChunk>& chunks, std::string_view type) {
  const auto found =
      std::find_if(chunks.begin(), chunks.end(), [&](const PngChunk& c) { return c.type == type; });
  if (found == chunks.end()) throw std::runtime_error("no such chunk");
  return *found;
}

Bytes deflate_bytes(const Bytes& bytes) {
  uLongf size = compressBound(static_cast<uLong>(bytes.size()));
  Bytes out(size);
  compress(reinterpret_cast<Bytef*>(out.data()), &size, reinterpret_cast<const Bytef*>(bytes.data()),
           static_cast<uLong>(bytes.size()));
  out.resize(size);
  return out;
}

Bytes make_png(const PngSpec& spec) {
  Bytes rows;
  if (spec.interlaced) {
    const int passes[7][4] = {{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4},
                              {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}};
    for (const auto& pass : passes) append_pass(spec, pass[0], pass[1], pass[2], pass[3], &rows);
  } else {
    append_pass(spec, 0, 0, 1, 1, &rows);
  }
  Bytes header;
  push_u32(&header, static_cast<uint32_t>(spec.width));
  push_u32(&header, static_cast<uint32_t>(spec.height));
  header = concat({header, bytes_of({spec.bit_depth, spec.color_type, 0, 0, spec.interlaced ? 1 : 0})});
  std::vector<PngChunk> chunks = {{"IHDR", header}};
  if (!spec.palette.empty()) chunks.push_back({"PLTE", spec.palette});
  if (!spec.transparency.empty()) chunks.push_back({"tRNS", spec.transparency});
  chunks.push_back({"IDAT", deflate_bytes(rows)});
  chunks.push_back({"IEND", {}});
  return join_png(chunks);
}

JpegParts split_jpeg(const Bytes& jpeg) {
  JpegParts parts;
  size_t position = 2;
  for (int marker = 0; marker != 0xDA;) {
    marker = std::to_integer<int>(jpeg.at(position + 1));
    const auto length = std::to_integer<ptrdiff_t>(jpeg.at(position + 2)) << 8 |
                        std::to_integer<ptrdiff_t>(jpeg.at(position + 3));
    const auto begin = jpeg.begin() + static_cast<ptrdiff_t>(position);
    parts.segments.push_back({marker, Bytes(begin + 4, begin + 2 + length)});
    position += 2 + static_cast<size_t>(length);
  }
  parts.rest.assign(jpeg.begin() + static_cast<ptrdiff_t>(position), jpeg.end());
  return parts;
}

Bytes join_jpeg(const JpegParts& parts) {
  Bytes jpeg = bytes_of({0xFF, 0xD8});
  for (const JpegSegment& segment : parts.segments) {
    const int length = static_cast<int>(segment.payload.size()) + 2 + segment.length_error;
    jpeg =
        concat({jpeg, bytes_of({0xFF, segment.marker, length >> 8 & 0xFF, length & 0xFF}), segment.payload});
  }
  return concat({jpeg, parts.rest});
}

JpegSegment& find_segment(JpegParts& parts, int marker) {
  const auto found = std::find_if(parts.segments.begin(), parts.segments.end(),
                                  [&](const JpegSegment& s) { return s.marker == marker; });
  if (found == parts.segments.end()) throw std::runtime_error("no such segment");
  return *found;
}

Bytes make_jpeg(const Image& image, const JpegSpec& spec) {
  const bool four = spec.cmyk || spec.ycck;
  const int components = four ? 4 : static_cast<int>(image.channels);
  std::vector<JSAMPLE> pixels;
  for (size_t i = 0; i < image.pixels.size(); ++i) {
    pixels.push_back(image.pixels[i]);
    if (four && i % 3 == 2) pixels.push_back(0);
  }
  jpeg_compress_struct info{};
  jpeg_error_mgr errors{};
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* memory = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&info, &memory, &size);
  info.image_width = static_cast<JDIMENSION>(image.width);
  info.image_height = static_cast<JDIMENSION>(image.height);
  info.input_components = components;
  info.in_color_space = four ? JCS_CMYK : components == 1 ? JCS_GRAYSCALE : JCS_RGB;
  jpeg_set_defaults(&info);
  if (spec.ycck) jpeg_set_colorspace(&info, JCS_YCCK);
  jpeg_set_quality(&info, spec.quality, TRUE);
  if (spec.full_chroma) info.comp_info[0].h_samp_factor = info.comp_info[0].v_samp_factor = 1;
  if (spec.progressive) jpeg_simple_progression(&info);
  const jpeg_scan_info scans[3] = {{1, {0}, 0, 63, 0, 0}, {1, {1}, 0, 63, 0, 0}, {1, {2}, 0, 63, 0, 0}};
  if (spec.separate_scans) {
    info.scan_info = scans;
    info.num_scans = 3;
  }
  info.arith_code = spec.arithmetic ? TRUE : FALSE;
  info.restart_interval = static_cast<unsigned>(spec.restart_interval);
  jpeg_start_compress(&info, TRUE);
  while (info.next_scanline < info.image_height) {
    JSAMPROW row = pixels.data() + static_cast<size_t>(info.next_scanline) * info.image_width *
                                       static_cast<size_t>(components);
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  jpeg_destroy_compress(&info);
  const auto* begin = reinterpret_cast<const std::byte*>(memory);
  Bytes jpeg(begin, begin + size);
  free(memory);
  return jpeg;
}

JpegSegment exif_segment(int orientation, bool big_endian) {
  // Header, one directory with one entry (tag 0x0112, SHORT, count 1, value), no next directory.
  const Bytes tiff = big_endian ? bytes_of({'M', 'M', 0, 42, 0, 0, 0,           8, 0, 1, 1, 0x12, 0,
                                            3,   0,   0, 0,  1, 0, orientation, 0, 0, 0, 0, 0,    0})
                                : bytes_of({'I', 'I', 42, 0, 8, 0,           0, 0, 1, 0, 0x12, 1, 3,
                                            0,   1,   0,  0, 0, orientation, 0, 0, 0, 0, 0,    0, 0});
  return {0xE1, concat({bytes_of({'E', 'x', 'i', 'f', 0, 0}), tiff})};
}

Image decode_with_libjpeg(const Bytes& jpeg, int channels, bool fast_dct) {
  jpeg_decompress_struct info{};
  jpeg_error_mgr errors{};
  info.err = jpeg_std_error(&errors);
  jpeg_create_decompress(&info);
  jpeg_mem_src(&info, reinterpret_cast<const unsigned char*>(jpeg.data()),
               static_cast<unsigned long>(jpeg.size()));
  jpeg_read_header(&info, TRUE);
  info.out_color_space = channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
  info.dct_method = fast_dct ? JDCT_IFAST : JDCT_ISLOW;
  jpeg_start_decompress(&info);
  Image image{info.output_height, info.output_width, channels, {}};
  image.pixels.resize(static_cast<size_t>(image.height * image.width * channels));
  while (info.output_scanline < info.output_height) {
    JSAMPROW row = image.pixels.data() + static_cast<size_t>(info.output_scanline) * info.output_width *
                                             static_cast<size_t>(channels);
    jpeg_read_scanlines(&info, &row, 1);
  }
  jpeg_finish_decompress(&info);
  jpeg_destroy_decompress(&info);
  return image;
}

}  // namespace nacre::test
