#include "image/stb_png.h"

#include <limits>
#include <memory>
#include <string>

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

Result<Image> decode_checked_png(std::span<const std::byte> encoded, int64_t channels) {
  if (encoded.size() > std::numeric_limits<int>::max()) {
    return Status(StatusCode::kLimit, "PNG of " + std::to_string(encoded.size()) + " bytes, over 2^31 - 1");
  }
  int width = 0;
  int height = 0;
  int channels_in_file = 0;
  const std::unique_ptr<stbi_uc, void (*)(void*)> pixels(
      stbi_load_from_memory(reinterpret_cast<const stbi_uc*>(encoded.data()),
                            static_cast<int>(encoded.size()), &width, &height, &channels_in_file,
                            static_cast<int>(channels)),
      stbi_image_free);
  if (pixels == nullptr) {
    return Status(StatusCode::kBadData, std::string("damaged PNG: ") + stbi_failure_reason());
  }
  Image image;
  image.height = height;
  image.width = width;
  image.channels = channels;
  image.pixels.assign(pixels.get(), pixels.get() + image.height * image.width * channels);
  return image;
}

}  // namespace nacre
