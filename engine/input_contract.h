#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace nacre {

/// How JPEG's inverse cosine transform is computed. kAccurate is libjpeg's ISLOW (TensorFlow's
/// INTEGER_ACCURATE), kFast its IFAST (TensorFlow's INTEGER_FAST, and its default).
enum class JpegDct : uint8_t { kAccurate = 0, kFast = 1 };

/// What to do with an image's EXIF orientation: ignore it as TensorFlow does, or turn the image upright.
enum class ExifPolicy : uint8_t { kIgnore = 0, kApply = 1 };

/// What to do with an image of another size: resize it (bilinear, half-pixel centres, no antialiasing:
/// tf.image.resize's default) or refuse it.
enum class ResizePolicy : uint8_t { kBilinear = 0, kExact = 1 };

/// How encoded image bytes become the network's input, and what its outputs mean. Plain data that travels
/// inside every checkpoint and bundle: training, evaluation, prediction and serving run the same contract, so
/// they cannot disagree. The steps: decode to `channels` 8-bit channels (RGB, or grey = Y), turn by EXIF if
/// asked, multiply by `scale` (float32), resize to height x width. image/ executes it.
struct InputContract {
  int64_t height = 0;    ///< pixels
  int64_t width = 0;     ///< pixels
  int64_t channels = 0;  ///< 1 (grey) or 3 (RGB)
  JpegDct jpeg_dct = JpegDct::kAccurate;
  ExifPolicy exif = ExifPolicy::kIgnore;
  ResizePolicy resize = ResizePolicy::kBilinear;
  float scale = 1.0F / 255.0F;      ///< factor from 8-bit levels to network input
  std::vector<std::string> labels;  ///< class names in the order of the outputs; empty when not known yet

  [[nodiscard]] bool operator==(const InputContract&) const = default;
};

}  // namespace nacre
