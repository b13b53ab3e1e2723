#include "image/exif.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <utility>

namespace nacre {
namespace {

using namespace std::string_view_literals;

bool begins_with(std::span<const std::byte> bytes, std::string_view magic) {
  return bytes.size() >= magic.size() && std::memcmp(bytes.data(), magic.data(), magic.size()) == 0;
}

uint32_t byte_at(std::span<const std::byte> bytes, size_t i) {
  return std::to_integer<uint32_t>(bytes[i]);
}

/// Numbers of a TIFF structure, in its byte order. Callers have checked that they lie inside.
struct TiffReader {
  std::span<const std::byte> bytes;
  bool big_endian;

  [[nodiscard]] uint32_t u16(size_t i) const {
    return big_endian ? byte_at(bytes, i) << 8 | byte_at(bytes, i + 1)
                      : byte_at(bytes, i + 1) << 8 | byte_at(bytes, i);
  }
  [[nodiscard]] uint32_t u32(size_t i) const {
    return big_endian ? u16(i) << 16 | u16(i + 2) : u16(i + 2) << 16 | u16(i);
  }
};

}  // namespace

int exif_orientation(std::span<const std::byte> tiff) {
  constexpr size_t kHeaderBytes = 8;
  constexpr size_t kEntryBytes = 12;
  constexpr uint32_t kOrientationTag = 0x0112;
  constexpr uint32_t kShort = 3;
  constexpr int kUpright = 1;

  if (tiff.size() < kHeaderBytes) return kUpright;
  const bool big_endian = begins_with(tiff, "MM\0*"sv);
  if (!big_endian && !begins_with(tiff, "II*\0"sv)) return kUpright;
  const TiffReader reader{tiff, big_endian};
  const size_t directory = reader.u32(4);
  if (directory < kHeaderBytes || directory > tiff.size() || tiff.size() - directory < 2) return kUpright;
  const size_t room = (tiff.size() - directory - 2) / kEntryBytes;
  const size_t entries = std::min<size_t>(reader.u16(directory), room);
  for (size_t i = 0; i < entries; ++i) {
    const size_t entry = directory + 2 + i * kEntryBytes;
    if (reader.u16(entry) != kOrientationTag) continue;
    const uint32_t value = reader.u16(entry + 8);
    const bool valid =
        reader.u16(entry + 2) == kShort && reader.u32(entry + 4) == 1 && value >= 1 && value <= 8;
    return valid ? static_cast<int>(value) : kUpright;
  }
  return kUpright;
}

int jpeg_orientation(std::span<const std::byte> jpeg) {
  constexpr uint32_t kApp1 = 0xE1;
  constexpr uint32_t kStartOfScan = 0xDA;
  size_t position = 2;
  while (position < jpeg.size() && byte_at(jpeg, position) == 0xFF) {
    // Any number of 0xFF may come before a marker's code.
    while (position < jpeg.size() && byte_at(jpeg, position) == 0xFF) ++position;
    if (jpeg.size() - position < 3) return 1;
    const uint32_t marker = byte_at(jpeg, position);
    const size_t length = byte_at(jpeg, position + 1) << 8 | byte_at(jpeg, position + 2);
    if (marker == kStartOfScan || length < 2 || length > jpeg.size() - position - 1) return 1;
    const std::span<const std::byte> payload = jpeg.subspan(position + 3, length - 2);
    if (marker == kApp1 && begins_with(payload, "Exif\0\0"sv)) return exif_orientation(payload.subspan(6));
    position += 1 + length;
  }
  return 1;
}

Image turn_upright(Image image, int orientation) {
  if (orientation <= 1 || orientation > 8) return image;
  const bool swap_sides = orientation >= 5;
  const bool mirror_x = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool mirror_y = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;

  Image upright;
  upright.height = swap_sides ? image.width : image.height;
  upright.width = swap_sides ? image.height : image.width;
  upright.channels = image.channels;
  upright.pixels.resize(image.pixels.size());
  uint8_t* out = upright.pixels.data();
  for (int64_t y = 0; y < upright.height; ++y) {
    for (int64_t x = 0; x < upright.width; ++x) {
      const int64_t row = swap_sides ? x : y;
      const int64_t column = swap_sides ? y : x;
      const int64_t from_row = mirror_y ? image.height - 1 - row : row;
      const int64_t from_column = mirror_x ? image.width - 1 - column : column;
      const uint8_t* from = image.pixels.data() + (from_row * image.width + from_column) * image.channels;
      out = std::copy_n(from, image.channels, out);
    }
  }
  return upright;
}

}  // namespace nacre
