#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/input_contract.h"
#include "engine/status.h"

namespace nacre {

// Thread-safe: the functions keep nothing between calls.

/// Limits on what an encoded image may make the decoder do.
struct ImageLimits {
  int64_t max_side = 1 << 14;                   ///< pixels
  int64_t max_pixels = int64_t{64} << 20;       ///< height x width
  size_t max_encoded_bytes = size_t{64} << 20;  ///< size of the file
};

/// A decoded image: [height, width, channels] bytes, row-major, channels interleaved (RGB or grey).
struct Image {
  int64_t height = 0;
  int64_t width = 0;
  int64_t channels = 0;
  std::vector<uint8_t> pixels;
};

/// Decodes JPEG or PNG bytes, told apart by content and never by name, as `contract` says: channels, JPEG
/// method, EXIF. Strict: whatever a decoder would only warn of is an error. Errors carry a reason without a
/// file name: kBadData for a damaged image or another file type (which it names), kUnsupported for CMYK JPEG
/// or Apple CgBI PNG, kLimit when the declared size is over a limit (checked before anything of that size is
/// allocated).
Result<Image> decode_image(std::span<const std::byte> encoded, const InputContract& contract,
                           const ImageLimits& limits = {});

/// kBadData when the contract says exact and the image has another size.
Status check_image_size(const Image& image, const InputContract& contract);

/// Turns a decoded image into network input [contract.height, contract.width, contract.channels]: multiplies
/// by contract.scale, then resizes. `out` holds height*width*channels floats. Errors are those of
/// check_image_size.
Status image_to_input(const Image& image, const InputContract& contract, float* out);

/// Reads, decodes and converts a file: the one way from an image file to network input, for training,
/// evaluation and prediction alike. Errors are `path: reason`.
Status load_image(const std::string& path, const InputContract& contract, float* out,
                  const ImageLimits& limits = {});

}  // namespace nacre
