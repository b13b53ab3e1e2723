#pragma once

#include <cstddef>
#include <span>

#include "image/decode.h"

namespace nacre {

/// The EXIF orientation, 1 to 8, of a TIFF structure as EXIF embeds it (a PNG's eXIf chunk, a JPEG's APP1
/// after "Exif\0\0"). 1 (upright) when there is none, or when it is malformed: metadata never makes an image
/// unusable.
int exif_orientation(std::span<const std::byte> tiff);

/// The same for a whole JPEG file: looks for the first EXIF segment before the first scan.
int jpeg_orientation(std::span<const std::byte> jpeg);

/// The image as its EXIF orientation (1 to 8) says it is to be seen.
Image turn_upright(Image image, int orientation);

}  // namespace nacre
