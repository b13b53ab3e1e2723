// libFuzzer target: any bytes as an image. The first byte chooses the input contract.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include "image/decode.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  nacre::InputContract contract;
  contract.height = 5;
  contract.width = 7;
  contract.channels = (data[0] & 1) != 0 ? 1 : 3;
  contract.jpeg_dct = (data[0] & 2) != 0 ? nacre::JpegDct::kFast : nacre::JpegDct::kAccurate;
  contract.exif = (data[0] & 4) != 0 ? nacre::ExifPolicy::kApply : nacre::ExifPolicy::kIgnore;
  // Small, so that the fuzzer spends its time on parsing.
  const nacre::ImageLimits limits{.max_side = 512, .max_pixels = 1 << 16, .max_encoded_bytes = 1 << 20};
  const nacre::Result<nacre::Image> image =
      nacre::decode_image(std::as_bytes(std::span(data + 1, size - 1)), contract, limits);
  if (!image.ok()) {
    if (image.status().message().empty()) std::abort();
    return 0;
  }
  std::vector<float> input(static_cast<size_t>(contract.height * contract.width * contract.channels));
  if (!nacre::image_to_input(*image, contract, input.data()).ok()) std::abort();
  return 0;
}
