#include "image/peek.h"

#include <string>

#include "image/exif.h"
#include "image/file_type.h"

namespace nacre {
namespace {

int64_t number_at(std::span<const std::byte> bytes, size_t at, size_t count) {
  int64_t number = 0;
  for (size_t i = 0; i < count; ++i) number = number << 8 | std::to_integer<int64_t>(bytes[at + i]);
  return number;
}

std::optional<ImageSize> peek_png(std::span<const std::byte> head) {
  // Signature (8), length and type of the first chunk (8), width, height.
  constexpr size_t kWidthAt = 16;
  constexpr size_t kHeightAt = 20;
  if (head.size() < kHeightAt + 4) return std::nullopt;
  const ImageSize size{number_at(head, kHeightAt, 4), number_at(head, kWidthAt, 4)};
  // A PNG's sides have 31 bits.
  if (size.height > INT32_MAX || size.width > INT32_MAX) return std::nullopt;
  return size;
}

/// True for the markers that start a frame, SOF0 to SOF15, but for DHT, JPG and DAC among them.
bool starts_frame(int64_t marker) {
  return marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC;
}

std::optional<ImageSize> peek_jpeg(std::span<const std::byte> head, ExifPolicy exif) {
  // A segment: 0xFF (any number of them), marker, length of what follows with itself.
  size_t at = 2;
  while (at < head.size() && number_at(head, at, 1) == 0xFF) {
    while (at < head.size() && number_at(head, at, 1) == 0xFF) ++at;
    // Marker (1), length (2), precision (1), height (2), width (2).
    constexpr size_t kNeeded = 8;
    if (head.size() - at < kNeeded) return std::nullopt;
    if (starts_frame(number_at(head, at, 1))) {
      const ImageSize size{number_at(head, at + 4, 2), number_at(head, at + 6, 2)};
      constexpr int kFirstThatSwaps = 5;
      const bool swaps = exif == ExifPolicy::kApply && jpeg_orientation(head) >= kFirstThatSwaps;
      return swaps ? ImageSize{size.width, size.height} : size;
    }
    at += 1 + static_cast<size_t>(number_at(head, at + 1, 2));
  }
  return std::nullopt;
}

}  // namespace

Status check_image_type(std::span<const std::byte> head) {
  if (head.empty()) return {StatusCode::kBadData, "is empty, not a JPEG or PNG"};
  const DetectedType detected = detect_file_type(head);
  if (detected.type != FileType::kOther) return {};
  const std::string name(detected.name.empty() ? std::string_view("of an unknown type") : detected.name);
  return {StatusCode::kBadData, "is " + name + ", not a JPEG or PNG"};
}

std::optional<ImageSize> peek_size(std::span<const std::byte> head, ExifPolicy exif) {
  switch (detect_file_type(head).type) {
    case FileType::kJpeg:
      return peek_jpeg(head, exif);
    case FileType::kPng:
      return peek_png(head);
    case FileType::kOther:
      break;
  }
  return std::nullopt;
}

}  // namespace nacre
