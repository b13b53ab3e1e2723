#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "engine/input_contract.h"
#include "engine/random.h"
#include "engine/status.h"

namespace nacre {

/// A factor is drawn uniformly from [low, high).
struct FactorRange {
  float low = 1.0F;
  float high = 1.0F;
  [[nodiscard]] bool operator==(const FactorRange&) const = default;
};

/// Which random changes training makes to an image. They are applied in the order of the members, whatever
/// order the option names them in, and mean what tf.image's functions of the same name mean on float images:
/// values are never clipped.
struct Augmentation {
  bool flip = false;                    ///< left to right, with probability 1/2
  std::optional<float> brightness;      ///< d >= 0: adds a number from [-d, d)
  std::optional<FactorRange> contrast;  ///< 0 <= low < high
  std::optional<float> hue;  ///< d in [0, 0.5]: turns the hue by a share of the circle from [-d, d)
  std::optional<FactorRange> saturation;  ///< 0 <= low < high
  int64_t crop =
      0;  ///< puts so many rows and columns of zeros around the image and cuts its size out anywhere

  /// Reads `flip,brightness=0.5,contrast=0.2:2.0,hue=0.08,saturation=0.2:2.0,crop=4`, any part of it, or
  /// `none`. kUsage names the item that is wrong and lists those that are known.
  static Result<Augmentation> parse(std::string_view text);
  /// What parse() reads back to an equal value; "none" when nothing is on.
  [[nodiscard]] std::string to_string() const;
  /// kUsage when hue or saturation is asked of images that have not 3 channels, or a crop that could leave
  /// nothing of an image.
  [[nodiscard]] Status check(const InputContract& input) const;
  /// True when anything is on.
  [[nodiscard]] bool any() const;
  [[nodiscard]] bool operator==(const Augmentation&) const = default;
};

/// The stream that augment() is given for one sample in one epoch.
RandomStream augment_stream(uint64_t seed, int64_t epoch, int64_t sample);

/// Changes `image` [height, width, channels] in place. A pure function of its arguments: number k of `random`
/// belongs to the k-th kind of change, so turning one off leaves the others as they were. Requires
/// check() of a contract with this size.
void augment(const Augmentation& augmentation, const RandomStream& random, float* image, int64_t height,
             int64_t width, int64_t channels);

/// The single steps, for images [height, width, channels] or [pixels, channels] of floats, in place.
/// Formulas: TensorFlow's kernels (tf.image.adjust_brightness, adjust_contrast, adjust_hue,
/// adjust_saturation).

/// Mirrors every row.
void flip_left_right(float* image, int64_t height, int64_t width, int64_t channels);
/// Moves the image down by `dy` and right by `dx` (up and left when negative; |dy| < height, |dx| < width);
/// zeros come in.
void shift_image(float* image, int64_t height, int64_t width, int64_t channels, int64_t dy, int64_t dx);
/// x + delta.
void adjust_brightness(float* image, int64_t count, float delta);
/// (x - m) * factor + m, where m is the mean of the channel over the image. channels is 1 or 3.
void adjust_contrast(float* image, int64_t pixels, int64_t channels, float factor);
/// For RGB: with mx, mn the largest and smallest channel and c = mx - mn, the hue in sextants is h = (g - b)
/// / c mod 6 where red is largest, (b - r) / c + 2 where green is, (r - g) / c + 4 where blue is, 0 where c =
/// 0; h += 6 delta, mod 6; a channel n = 5, 3, 1 for R, G, B becomes mx - c * clamp(min(k, 4 - k), 0, 1) with
/// k = (n + h) mod 6. mx and mn stay. delta in [-1, 1].
void adjust_hue(float* image, int64_t pixels, float delta);
/// For RGB: v = max, s = (max - min) / v where v > 0, else 0; s' = clamp(s * factor, 0, 1); a channel x
/// becomes v - (v - x) * s' / s, and v where s = 0.
void adjust_saturation(float* image, int64_t pixels, float factor);

}  // namespace nacre
