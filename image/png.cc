#include "image/png.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "image/exif.h"
#include "image/png_chunk.h"
#include "image/png_walker.h"
#include "image/stb_png.h"

namespace nacre {
namespace {

constexpr int64_t kRgb = 3;

/// A PNG of what decoding needs and nothing else. Palette images get the palette "entry i is (i, i, i)", so
/// that they decode to their indices: stb_image would read indices past the end of a short palette from
/// uninitialised memory.
std::vector<std::byte> rebuild(std::span<const std::byte> encoded, const PngParts& parts) {
  constexpr size_t kSignatureAndHeader = 8 + 4 + 4 + 13 + 4;
  std::array<std::byte, size_t{256} * 3> identity{};
  for (size_t i = 0; i < identity.size(); ++i) identity[i] = static_cast<std::byte>(i / 3);

  std::vector<std::byte> png;
  png.reserve(encoded.size() + 2 * identity.size());
  png.assign(encoded.begin(), encoded.begin() + kSignatureAndHeader);
  if (parts.header.color_type == PngHeader::kPalette) append_png_chunk(&png, "PLTE", identity);
  for (const std::span<const std::byte> piece : parts.image_data) append_png_chunk(&png, "IDAT", piece);
  append_png_chunk(&png, "IEND", {});
  return png;
}

/// Looks the indices of `image` (in the first of its three channels) up in `palette`.
Result<Image> apply_palette(Image image, std::span<const std::byte> palette, int64_t channels) {
  const size_t entries = palette.size() / kRgb;
  const int64_t count = image.height * image.width;
  uint8_t* out = image.pixels.data();
  for (int64_t i = 0; i < count; ++i) {
    const size_t index = image.pixels[static_cast<size_t>(i * kRgb)];
    if (index >= entries) {
      return Status(StatusCode::kBadData, "damaged PNG: palette index " + std::to_string(index) +
                                              " where the palette has " + std::to_string(entries) +
                                              " entries");
    }
    const auto level = [&](size_t c) { return std::to_integer<uint8_t>(palette[index * kRgb + c]); };
    // The output is never ahead of the input: in place is safe.
    if (channels == kRgb) {
      for (size_t c = 0; c < kRgb; ++c) *out++ = level(c);
    } else {
      *out++ = static_cast<uint8_t>((77 * level(0) + 150 * level(1) + 29 * level(2)) >> 8);
    }
  }
  image.channels = channels;
  image.pixels.resize(static_cast<size_t>(count * channels));
  return image;
}

}  // namespace

Result<Image> decode_png(std::span<const std::byte> encoded, const InputContract& contract,
                         const ImageLimits& limits) {
  NACRE_ASSIGN_OR_RETURN(const PngParts parts, walk_png(encoded, limits));
  const bool has_palette = parts.header.color_type == PngHeader::kPalette;
  NACRE_ASSIGN_OR_RETURN(Image image,
                         decode_checked_png(rebuild(encoded, parts), has_palette ? kRgb : contract.channels));
  if (has_palette) {
    NACRE_ASSIGN_OR_RETURN(image, apply_palette(std::move(image), parts.palette, contract.channels));
  }
  if (contract.exif == ExifPolicy::kApply)
    return turn_upright(std::move(image), exif_orientation(parts.exif));
  return image;
}

}  // namespace nacre
