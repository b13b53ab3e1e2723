#include "image/png.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "image/exif.h"
#include "image/png_chunk.h"
#include "image/png_grey.h"
#include "image/png_walker.h"
#include "image/stb_png.h"

namespace nacre {
namespace {

constexpr size_t kRgb = 3;

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

/// Makes a colour image grey, in place.
Image become_grey(Image image, int64_t gamma) {
  grey_of_rgb(std::span<const uint8_t>(image.pixels), gamma, image.pixels.data());
  image.channels = 1;
  image.pixels.resize(image.pixels.size() / kRgb);
  return image;
}

/// Looks the indices of `image` (in the first of its three channels) up in the palette.
Result<Image> apply_palette(Image image, const PngParts& parts, int64_t channels) {
  std::vector<uint8_t> levels(parts.palette.size());
  std::ranges::transform(parts.palette, levels.begin(),
                         [](std::byte b) { return std::to_integer<uint8_t>(b); });
  const size_t entries = levels.size() / kRgb;
  if (channels == 1) grey_of_rgb(std::span<const uint8_t>(levels), parts.colour.gamma(), levels.data());
  const auto step = static_cast<size_t>(channels);
  const auto count = static_cast<size_t>(image.height * image.width);
  uint8_t* out = image.pixels.data();
  for (size_t i = 0; i < count; ++i) {
    const size_t index = image.pixels[i * kRgb];
    if (index >= entries) {
      return Status(StatusCode::kBadData, "damaged PNG: palette index " + std::to_string(index) +
                                              " where the palette has " + std::to_string(entries) +
                                              " entries");
    }
    // The output is never ahead of the input: in place is safe.
    for (size_t c = 0; c < step; ++c) *out++ = levels[index * step + c];
  }
  image.channels = channels;
  image.pixels.resize(count * step);
  return image;
}

/// A colour image of 16 bits as grey, which is weighed before the low byte goes.
Result<Image> decode_deep_grey(std::span<const std::byte> png, const PngColour& colour) {
  NACRE_ASSIGN_OR_RETURN(const DeepImage deep, decode_checked_deep_png(png));
  Image image;
  image.height = deep.height;
  image.width = deep.width;
  image.channels = 1;
  image.pixels.resize(deep.rgb().size() / kRgb);
  grey_of_rgb(deep.rgb(), colour.gamma(), colour.significant_bits(), image.pixels.data());
  return image;
}

Result<Image> decode_parts(std::span<const std::byte> png, const PngParts& parts, int64_t channels) {
  if (parts.header.color_type == PngHeader::kPalette) {
    NACRE_ASSIGN_OR_RETURN(Image image, decode_checked_png(png, kRgb));
    return apply_palette(std::move(image), parts, channels);
  }
  if (parts.header.is_grey() || channels != 1) return decode_checked_png(png, channels);
  if (parts.header.bit_depth == 16) return decode_deep_grey(png, parts.colour);
  NACRE_ASSIGN_OR_RETURN(Image image, decode_checked_png(png, kRgb));
  return become_grey(std::move(image), parts.colour.gamma());
}

}  // namespace

Result<Image> decode_png(std::span<const std::byte> encoded, const InputContract& contract,
                         const ImageLimits& limits) {
  NACRE_ASSIGN_OR_RETURN(const PngParts parts, walk_png(encoded, limits));
  NACRE_ASSIGN_OR_RETURN(Image image, decode_parts(rebuild(encoded, parts), parts, contract.channels));
  if (contract.exif == ExifPolicy::kApply)
    return turn_upright(std::move(image), exif_orientation(parts.exif));
  return image;
}

}  // namespace nacre
