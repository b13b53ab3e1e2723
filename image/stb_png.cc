#include "image/stb_png.h"

#include <limits>
#include <memory>
#include <string>
#include <utility>

// Static analysis looks at our code, not at stb's (which leaks when memory runs out while it narrows 16-bit
// samples).
#ifndef __clang_analyzer__
#define STB_IMAGE_IMPLEMENTATION
#endif
#define STB_IMAGE_STATIC
#define STBI_ONLY_PNG
#define STBI_NO_STDIO
#define STBI_NO_LINEAR
#define STBI_NO_HDR
#define STBI_MAX_DIMENSIONS (1 << 24)
#include <stb/stb_image.h>

namespace nacre {
namespace {

/// What stb_image's functions for 8 and 16 bits have in common.
template <typename Sample>
using Load = Sample* (*)(const stbi_uc*, int, int*, int*, int*, int);

template <typename Sample>
struct Loaded {
  int height = 0;
  int width = 0;
  std::unique_ptr<Sample, void (*)(void*)> samples;
};

template <typename Sample>
Result<Loaded<Sample>> load(Load<Sample> load, std::span<const std::byte> encoded, int64_t channels) {
  if (encoded.size() > std::numeric_limits<int>::max()) {
    return Status(StatusCode::kLimit, "PNG of " + std::to_string(encoded.size()) + " bytes, over 2^31 - 1");
  }
  int width = 0;
  int height = 0;
  int channels_in_file = 0;
  Sample* const samples =
      load(reinterpret_cast<const stbi_uc*>(encoded.data()), static_cast<int>(encoded.size()), &width,
           &height, &channels_in_file, static_cast<int>(channels));
  if (samples == nullptr) {
    return Status(StatusCode::kBadData, std::string("damaged PNG: ") + stbi_failure_reason());
  }
  return Loaded<Sample>{height, width, {samples, stbi_image_free}};
}

}  // namespace

Result<Image> decode_checked_png(std::span<const std::byte> encoded, int64_t channels) {
  NACRE_ASSIGN_OR_RETURN(const Loaded<stbi_uc> loaded,
                         load<stbi_uc>(stbi_load_from_memory, encoded, channels));
  Image image;
  image.height = loaded.height;
  image.width = loaded.width;
  image.channels = channels;
  image.pixels.assign(loaded.samples.get(), loaded.samples.get() + image.height * image.width * channels);
  return image;
}

Result<DeepImage> decode_checked_deep_png(std::span<const std::byte> encoded) {
  NACRE_ASSIGN_OR_RETURN(Loaded<stbi_us> loaded, load<stbi_us>(stbi_load_16_from_memory, encoded, 3));
  return DeepImage{loaded.height, loaded.width, std::move(loaded.samples)};
}

}  // namespace nacre
