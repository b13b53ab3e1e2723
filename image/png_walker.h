#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "image/decode.h"
#include "image/png_colour.h"

namespace nacre {

inline constexpr std::array<unsigned char, 8> kPngSignature = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};

/// A PNG's IHDR.
struct PngHeader {
  static constexpr int kPalette = 3;  ///< the colour type of images whose samples index a palette

  int64_t width = 0;
  int64_t height = 0;
  int bit_depth = 0;
  int color_type = 0;
  bool interlaced = false;

  [[nodiscard]] bool is_grey() const;
  [[nodiscard]] int samples_per_pixel() const;

  /// Bytes that the compressed stream must inflate to: filter bytes and packed rows of all interlace passes.
  [[nodiscard]] int64_t inflated_size() const;
};

/// The parts of a PNG that matter, all checked; the spans point into the file's bytes.
struct PngParts {
  PngHeader header;
  PngColour colour;                                    ///< of what precedes PLTE and IDAT
  std::vector<std::span<const std::byte>> image_data;  ///< payloads of IDAT, in order
  std::span<const std::byte> palette;                  ///< payload of PLTE: three bytes an entry
  std::span<const std::byte> exif;                     ///< payload of eXIf, empty when there is none
};

/// Walks all chunks up to IEND: signature, order, lengths, checksums, header, limits; then inflates the image
/// data through a small buffer to see that it is whole and holds exactly what the header promises. Errors as
/// decode_image.
Result<PngParts> walk_png(std::span<const std::byte> encoded, const ImageLimits& limits);

}  // namespace nacre
